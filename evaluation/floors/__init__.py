"""Write reports that need no report writer: the floors that a model's scores are told beside."""
