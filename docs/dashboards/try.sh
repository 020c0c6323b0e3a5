#!/usr/bin/env bash
# Tries the recipe of docs/dashboards/README.md with Debian's prometheus and prometheus-node-exporter: a textfile goes through
# node_exporter into Prometheus and is queried back, the history goes in as OpenMetrics, every question of the Grafana
# dashboard is asked, the alerts are tested. Listens on 127.0.0.1 only, ends what it started, about half a minute.
# Needs: metrics-cat, prometheus, promtool, prometheus-node-exporter, python3 (.ci/setup --dashboards). Run by `make dashboards`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    wait 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT
for program in metrics-cat prometheus promtool prometheus-node-exporter python3; do
    command -v "$program" > /dev/null || { echo "dashboards: no '$program'; .ci/setup --dashboards installs what is missing" >&2; exit 1; }
done

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
node=$(free_port)
web=$(free_port)

# A run that is going on: its last record is of now. And one of two hours ago, for the history.
mkdir -p "$work/textfiles" "$work/live" "$work/past" "$work/data"
python3 - "$work" << 'END'
import json, sys, time
parts = ["embedding", "attention", "mlp", "norm", "head"]
norms = {"update_norm": 0.5, "weight_norm": 64.0, "update_to_weight_ratio": 0.0078125, "activation_outlier": 8.5, "gradient_outlier": 32.0}
norms |= {f"{key}_group_{part}": 0.25 for part in parts for key in
          ["gradient_norm", "update_norm", "weight_norm", "update_to_weight_ratio", "gradient_outlier"]}
def write(name, end):
    with open(f"{sys.argv[1]}/{name}/metrics.jsonl", "w") as file:
        for step in range(1, 101):
            now = end - (100 - step) * 10
            file.write(json.dumps({"step": step, "tokens": step * 4096, "train_loss": 5 - step / 50, "learning_rate": 6e-4,
                "gradient_norm": 0.75, "tokens_per_second": 409.6, "skipped_steps": 2, "seconds": step * 10, "time": now,
                "epoch": step / 64, "fraction_of_peak": 0.5, **(norms if step % 10 == 0 else {})}) + "\n")
            if step % 20 == 0:
                file.write(json.dumps({"step": step, "tokens": step * 4096, "validation_loss": 5.25 - step / 50, "time": now + 1}) + "\n")
now = int(time.time())
write("live", now - 5)
write("past", now - 7200)
END

promtool check rules "$here/millrace.rules.yml" > "$work/rules.txt" || { cat "$work/rules.txt" >&2; exit 1; }
cat > "$work/test.yml" << END
rule_files: [$here/millrace.rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'millrace_train_loss{run="a"}', values: '2 2 NaN NaN' }
      - { series: 'millrace_train_loss{run="b"}', values: '2 2 2 2' }
      - { series: 'millrace_last_record_timestamp_seconds{run="b"}', values: '0x30' }
    alert_rule_test:
      - { eval_time: 1m, alertname: MillraceNotFinite, exp_alerts: [] }
      - eval_time: 3m
        alertname: MillraceNotFinite
        exp_alerts: [{ exp_labels: { severity: critical, run: a }, exp_annotations: { summary: "the training loss of a is NaN" } }]
      - { eval_time: 5m, alertname: MillraceStalled, exp_alerts: [] }
      - eval_time: 20m
        alertname: MillraceStalled
        exp_alerts: [{ exp_labels: { severity: warning, run: b }, exp_annotations: { summary: "b has recorded nothing for ten minutes" } }]
END
promtool test rules "$work/test.yml" > "$work/rules.txt" 2>&1 || { cat "$work/rules.txt" >&2; exit 1; }
echo "ok: the alerts do what they say"

metrics-cat --to openmetrics "$work/past" > "$work/history.om"
promtool tsdb create-blocks-from openmetrics "$work/history.om" "$work/data" > "$work/blocks.txt" 2>&1 || { cat "$work/blocks.txt" >&2; exit 1; }

metrics-cat --to prometheus --output "$work/textfiles/millrace.prom" "$work/live"
promtool check metrics < "$work/textfiles/millrace.prom"
prometheus-node-exporter --collector.disable-defaults --collector.textfile --collector.textfile.directory="$work/textfiles" \
    --web.listen-address="127.0.0.1:$node" > "$work/node.log" 2>&1 &
pids+=($!)
sed -e "s/127.0.0.1:9100/127.0.0.1:$node/" -e 's/15s/1s/' -e "s|millrace.rules.yml|$here/millrace.rules.yml|" "$here/prometheus.yml" > "$work/prometheus.yml"
promtool check config "$work/prometheus.yml" > "$work/config.txt" || { cat "$work/config.txt" >&2; exit 1; }
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="127.0.0.1:$web" \
    > "$work/prometheus.log" 2>&1 &
pids+=($!)

timeout 90 python3 - "$web" "$here/grafana.json" "$work" << 'END' || { tail -20 "$work/node.log" "$work/prometheus.log" >&2; exit 1; }
import json, re, subprocess, sys, time, urllib.parse, urllib.request
web, dashboard, work = sys.argv[1:]
def query(expression, at=None):
    more = {} if at is None else {"time": at}
    address = f"http://127.0.0.1:{web}/api/v1/query?" + urllib.parse.urlencode({"query": expression, **more})
    with urllib.request.urlopen(address, timeout=5) as reply:
        answer = json.load(reply)
    assert answer["status"] == "success", answer
    return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]
def wait_for(expression, value):
    for _ in range(120):
        try:
            found = query(expression)
            if found and found[0][1] == value:
                return found
        except OSError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"dashboards: waited in vain for {expression} to be {value}")
found = wait_for('millrace_train_loss{run="live"}', 3.0)
assert found[0][0]["job"] == "node"
assert query('node_textfile_scrape_error') [0][1] == 0
for expression, value in {"millrace_tokens_total": 409600, "millrace_validation_loss": 3.25, "millrace_step_total": 100,
                          "millrace_skipped_steps_total": 2, "millrace_training_seconds": 1000}.items():
    assert query(f'{expression}{{run="live"}}')[0][1] == value, expression
print("ok: the textfile went through node_exporter into Prometheus")
# The file is replaced under the scraper.
with open(work + "/live/metrics.jsonl", "a") as file:
    file.write(json.dumps({"step": 101, "tokens": 413696, "train_loss": 2.5, "time": time.time()}) + "\n")
subprocess.run(["metrics-cat", "--to", "prometheus", "--output", work + "/textfiles/millrace.prom", work + "/live"], check=True)
wait_for('millrace_train_loss{run="live"}', 2.5)
print("ok: a newer file is seen")
# The history, at the time of step 50.
at = [json.loads(line) for line in open(work + "/past/metrics.jsonl")]
then = next(record for record in at if record["step"] == 50)["time"]
assert query('millrace_train_loss{run="past"}', then)[0][1] == 4.0
assert query('count_over_time(millrace_train_loss{run="past"}[1h])', at[-1]["time"] + 1)[0][1] == 100
print("ok: the history is there, every sample at its time")
# Every question of the dashboard.
count = 0
def ask(panel):
    global count
    for target in panel.get("targets", []):
        expression = target["expr"].replace("$run", ".*")
        answer = query(expression)
        for _ in range(20):  # a rate needs two scrapes
            if answer:
                break
            time.sleep(0.5)
            answer = query(expression)
        assert answer, f"nothing for {expression}"
        count += 1
with open(dashboard) as file:
    for panel in json.load(file)["panels"]:
        ask(panel)
assert count >= 24
print(f"ok: Prometheus has an answer to all {count} questions of the dashboard")
END
echo "dashboards: tried"
