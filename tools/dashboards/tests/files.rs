//! The files that are written from code are what the code would write.

use std::collections::BTreeSet;

use serde_json::Value;

#[test]
fn no_file_was_forgotten() {
    for (path, content) in dashboards::files() {
        let there = std::fs::read_to_string(dashboards::root().join(&path)).unwrap_or_default();
        assert!(
            there == content,
            "{} is not what the code would write: cargo run -p dashboards",
            path.display()
        );
    }
}

#[test]
fn every_panel_can_be_read_by_a_stranger() {
    let mut uids = BTreeSet::new();
    for (path, content) in dashboards::files() {
        let Ok(board) = serde_json::from_str::<Value>(&content) else { continue };
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{} shares its uid", path.display());
        let mut ids = BTreeSet::new();
        let mut places: Vec<[i64; 4]> = Vec::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: an id twice");
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_i64().unwrap());
            let [x, y, w, h] = place;
            assert!(x >= 0 && x + w <= 24, "{title} is outside");
            for [x2, y2, w2, h2] in &places {
                assert!(
                    x + w <= *x2 || x2 + w2 <= x || y + h <= *y2 || y2 + h2 <= y,
                    "{title} lies over another"
                );
            }
            places.push(place);
            if panel["type"] == "row" {
                continue;
            }
            assert!(panel["description"].as_str().unwrap().len() > 20, "{title} has no description");
            assert!(
                !panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(),
                "{title} has no unit"
            );
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title} shows nothing");
            assert!(
                targets.iter().all(|target| !target["legendFormat"].as_str().unwrap().is_empty()),
                "{title}"
            );
        }
    }
    assert_eq!(uids.len(), 4);
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let boards: String = dashboards::files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("grafana"))
        .map(|(_, content)| content)
        .collect();
    // Not looked at: what is resident counts.
    let not_looked_at = ["process_virtual_memory_bytes", "process_virtual_memory_max_bytes"];
    let forgotten: Vec<&str> = runtime::metric_list::ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !boards.contains(name) && !not_looked_at.contains(name))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn what_is_scraped_runs_in_docker_compose() {
    let read = |path| std::fs::read_to_string(dashboards::root().join(path)).unwrap();
    let (scraped, compose) = (read("prometheus/prometheus.yml"), read("docker-compose.yml"));
    let lines = scraped.lines().filter_map(|line| line.trim().strip_prefix("- targets: ["));
    let targets: Vec<&str> = lines
        .flat_map(|list| list.trim_end_matches(']').split(", "))
        .map(|target| target.trim_matches('"'))
        .collect();
    assert!(targets.len() >= 7, "{targets:?}");
    for target in targets {
        let (service, port) = target.split_once(':').unwrap();
        assert!(compose.contains(&format!("\n  {service}:")), "no service {service}");
        let ours = ["api-", "worker-", "follower-", "gateway-mock"]
            .iter()
            .any(|program| service.starts_with(program));
        assert!(
            !ours || compose.contains(&format!("METRICS_ADDR: 0.0.0.0:{port}")),
            "{target}: another port"
        );
    }
}
