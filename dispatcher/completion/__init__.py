"""From the service's word, or a look into S3, to outcomes."""
