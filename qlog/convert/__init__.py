"""From any era to the newest drafts, to 0.3, and to what qvis draws."""
