-- aggregated_analytics: one row per one-minute window of purchases.
--
-- A window is written again each time its totals grow, and any write may be repeated. total_orders only
-- ever grows, so it is the version: the fullest row wins, whatever the order of arrival, and a replayed or
-- older row changes nothing. The user `consumer` reads with final = 1 and so sees one row per window at any
-- moment, merged or not.
--
-- Not partitioned: a year is 525,600 rows, and rows only replace each other within one partition.
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
