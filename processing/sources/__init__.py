"""Read the three downloads that CT-3DRRG is made from, in their real file layouts."""
