"""Keep which parts of a job remain: embedded, in Redis, or in DynamoDB."""
