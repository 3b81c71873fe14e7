-- The one account that applications and people use. It may read and write the table of windows, nothing else.
--
-- final = 1: every SELECT sees the newest row of each window only, before ClickHouse has merged its parts too.
-- async_insert = 0: an INSERT that was acknowledged is stored. It is on by default from ClickHouse 26.2.
CREATE USER IF NOT EXISTS consumer
    IDENTIFIED WITH sha256_password BY 'MySecret'
    HOST ANY
    DEFAULT DATABASE default
    SETTINGS final = 1, async_insert = 0;

-- Runs before init.sql: a right may be granted on a table that does not exist yet.
GRANT SELECT, INSERT ON default.aggregated_analytics TO consumer;
