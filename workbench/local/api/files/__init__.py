"""Files over HTTP: whole, in parts, or fetched from an address on this machine."""
