"""Tables, pictures and charts of what was measured."""
