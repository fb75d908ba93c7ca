"""What people are shown: by the REST API, the pages of the dashboard and the command line, from questions alone."""
