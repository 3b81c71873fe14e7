-- The one account for applications and people. It can read and write the table of windows, nothing else.
--
-- final = 1: every SELECT sees one row per window, the one with the most orders, even before ClickHouse merges.
-- async_insert = 0: an INSERT is acknowledged once it is stored. From ClickHouse 26.2 on, the default is 1.
CREATE USER IF NOT EXISTS consumer
    IDENTIFIED WITH sha256_password BY 'MySecret'
    HOST ANY
    DEFAULT DATABASE default
    SETTINGS final = 1, async_insert = 0;

-- This runs before init.sql, which is fine: a right can be granted on a table that does not exist yet.
GRANT SELECT, INSERT ON default.aggregated_analytics TO consumer;
