"""Draw, word and store synthetic chest CTs whose findings are known."""
