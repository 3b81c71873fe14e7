#!/bin/bash
# At each start, if READER_PASSWORD is set: an account for people and dashboards, which can only read.
# final = 1: every SELECT sees one row per window. Remove the account with DROP USER reader.
set -o errexit -o nounset -o pipefail

if [[ -n ${READER_PASSWORD:-} ]]; then
    escaped=${READER_PASSWORD//\\/\\\\}
    escaped=${escaped//\'/\\\'}
    clickhouse-client --multiquery <<< "
        CREATE USER OR REPLACE reader IDENTIFIED WITH sha256_password BY '$escaped'
            HOST ANY DEFAULT DATABASE default SETTINGS final = 1;
        GRANT SELECT ON default.aggregated_analytics TO reader;"
fi
