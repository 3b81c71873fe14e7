-- aggregated_analytics: one row per one-minute window of purchases.
--
-- A window is written again each time its totals grow, and any write may be repeated. total_orders only
-- grows, so it is the version: the row with the most orders wins, whatever the order of arrival, and an
-- older or repeated row changes nothing. The user `consumer` reads with final = 1, and so always sees one
-- row per window, whether ClickHouse has merged them yet or not.
--
-- Not partitioned: a year is only 525,600 rows, and rows replace each other only within a partition.
CREATE TABLE IF NOT EXISTS default.aggregated_analytics
(
    window_start         DateTime('UTC'),
    window_end           DateTime('UTC'),

    total_sales          Decimal(38, 2),
    total_orders         UInt64,
    average_order_value  Decimal(18, 2),
    top_product          String,

    updated_at           DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(total_orders)
ORDER BY window_start;

-- A power cut can empty more files than the 100 parts after which ClickHouse refuses to start. Kafka still has
-- what they held (docs/production.md, After a power failure).
ALTER TABLE default.aggregated_analytics MODIFY SETTING max_suspicious_broken_parts = 100000;
