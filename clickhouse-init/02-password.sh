#!/bin/bash
# At each start, create the account of 01-create-user.sql again with the password in CONSUMER_PASSWORD.
set -o errexit -o nounset -o pipefail

escaped=${CONSUMER_PASSWORD:-MySecret}
escaped=${escaped//\\/\\\\}
escaped=${escaped//\'/\\\'}
sql=$(< "$(dirname "${BASH_SOURCE[0]}")/01-create-user.sql")
sql=${sql/IF NOT EXISTS/OR REPLACE}
clickhouse-client --multiquery <<< "${sql/\'MySecret\'/"'$escaped'"}"
