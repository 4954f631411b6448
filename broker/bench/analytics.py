"""What DuckDB, Polars and pandas make of sealed files: python3 analytics.py FOLDER

FOLDER holds the Parquet files of a stream, as `bench telemetry --keep` leaves them. Wants duckdb,
polars, pandas and pyarrow from PyPI.
"""

import glob
import statistics
import sys
import time

import duckdb
import pandas as pd
import polars as pl

files = f"{sys.argv[1]}/*.parquet"
ROUNDS = 3


def measure(what, ask):
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = ask()
        took.append(time.perf_counter() - began)
    print(f"| {what} | {statistics.median(took):.2f} | {answer} |")


def sql(question):
    return lambda: duckdb.sql(question.replace("LOG", f"read_parquet('{files}')")).fetchall()[0]


print("| what | seconds | answer |\n|---|---|---|")
measure("DuckDB: count", sql("SELECT count(*) FROM LOG"))
measure("DuckDB: average of a column per topic", sql(
    "SELECT count(*), round(avg(a), 3) FROM (SELECT topic, avg(t) AS a FROM LOG GROUP BY topic)"))
measure("DuckDB: the same out of the JSON", sql(
    "SELECT count(*), round(avg(a), 3) FROM"
    " (SELECT topic, avg((payload->>'$.t')::DOUBLE) AS a FROM LOG GROUP BY topic)"))
measure("DuckDB: average per minute", sql(
    "SELECT count(*), round(avg(a), 3) FROM"
    " (SELECT time_bucket(INTERVAL 1 minute, time) AS m, avg(t) AS a FROM LOG GROUP BY m)"))
measure("DuckDB: one topic", sql(
    "SELECT count(*), round(avg(t), 3) FROM LOG WHERE topic = 'sensors/room-1/climate'"))
measure("Polars: average of a column per topic", lambda: (
    pl.scan_parquet(files).group_by("topic").agg(pl.col("t").mean())
    .select(pl.len(), pl.col("t").mean().round(3)).collect().row(0)))
measure("pandas: average of a column per topic", lambda: (
    pd.concat(pd.read_parquet(file, columns=["topic", "t"]) for file in sorted(glob.glob(files)))
    .groupby("topic")["t"].mean().agg(["count", "mean"]).round(3).tolist()))
