"""Tables, pictures and charts of results."""
