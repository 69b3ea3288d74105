"""What `lmkit plugins new` writes: one complete class of each kind, called Template until it has a name."""
