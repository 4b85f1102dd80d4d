"""How a ledger's tables have changed, from the first version on; run by `harness.ledger.schema` when one is opened."""
