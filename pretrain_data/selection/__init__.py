"""Which scored documents stay: an expression over all that is known of them, cuts, and what each cut would keep."""
