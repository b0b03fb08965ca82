"""Reading and verifying a ledger from outside its run."""
