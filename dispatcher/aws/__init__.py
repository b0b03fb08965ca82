"""The one seam to AWS."""
