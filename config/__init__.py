"""What varies from one deployment to the next."""
