"""The options for Kafka's Java client, read by that client."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from kafka_options import kafka_options
from settings import Settings

LOGIN = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-256",
    "kafka_sasl_username": "shop",
}


@pytest.mark.parametrize(
    "password", ["s3cret", 'a"b', "a\\b", "\\", '\\"', "it's", "a;b", "a b", "\ta\nb\r", "ü€", " "]
)
def test_kafkas_client_reads_any_user_and_password(spark: SparkSession, password: str) -> None:
    login = {**LOGIN, "kafka_sasl_username": password, "kafka_sasl_password": password}
    line = kafka_options(Settings(**login))["kafka.sasl.jaas.config"]
    (entry,) = read_by_kafka(spark, line)
    assert entry.getLoginModuleName().endswith(".ScramLoginModule")
    assert dict(entry.getOptions()) == {"username": password, "password": password}


def read_by_kafka(spark: SparkSession, line: str) -> list[Any]:
    jvm: Any = spark._jvm
    types = jvm.org.apache.kafka.common.config.types
    security = jvm.org.apache.kafka.common.security
    configs = jvm.java.util.HashMap()
    configs.put("sasl.jaas.config", types.Password(line))
    return list(security.JaasContext.loadClientContext(configs).configurationEntries())


def test_without_security_there_are_the_address_and_the_time_out() -> None:
    assert kafka_options(Settings()) == {
        "kafka.bootstrap.servers": "localhost:9092",
        "kafka.security.protocol": "PLAINTEXT",
        "kafka.request.timeout.ms": "10000",
    }
