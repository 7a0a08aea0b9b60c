"""Check records, reports and signatures; train again, make again; take the records of others."""
