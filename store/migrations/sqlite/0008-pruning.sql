-- What is over, by when that was: tokens of both kinds, and executors that were deleted.
CREATE INDEX tokens_by_end ON tokens (expire_time);
CREATE INDEX join_tokens_by_end ON join_tokens (expire_time);
CREATE INDEX executors_by_deletion ON executors (delete_time) WHERE delete_time IS NOT NULL;
