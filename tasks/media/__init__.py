"""Media: probing, normalising, decoding. The only code of `tasks` that opens media files."""
