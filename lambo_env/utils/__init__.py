"""Small tools without a domain: checks of values, files, memory."""
