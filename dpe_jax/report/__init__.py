"""Result folders as pages: read, checked for what is missing or damaged, and written as HTML."""
