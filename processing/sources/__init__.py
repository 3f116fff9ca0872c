"""The three downloads that CT-3DRRG is made of, each as it really lies on disk."""
