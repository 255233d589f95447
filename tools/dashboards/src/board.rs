//! A dashboard: rows of panels, laid out from left to right.

use serde_json::{Value, json};

use crate::panel::Panel;

/// A dashboard.
#[derive(Debug)]
pub(crate) struct Board {
    /// Its file's name, and with `comanda-` before it, its uid: links to it must outlive a rename.
    pub file: &'static str,
    /// As Grafana lists it.
    pub title: &'static str,
    /// What it answers.
    pub description: &'static str,
    /// A title and what stands below it; the first row's title is not shown.
    pub rows: Vec<(&'static str, Vec<Panel>)>,
}

const COLUMNS: u32 = 24;

impl Board {
    /// As Grafana reads it.
    pub(crate) fn json(&self) -> String {
        let mut panels = Vec::new();
        let (mut id, mut y) = (0, 0);
        for (place, (title, row)) in self.rows.iter().enumerate() {
            if place > 0 {
                id += 1;
                panels
                    .push(json!({"id": id, "type": "row", "title": title, "collapsed": false, "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}));
                y += 1;
            }
            let (mut x, mut tallest) = (0, 0);
            for panel in row {
                if x + panel.width > COLUMNS {
                    y += tallest;
                    (x, tallest) = (0, 0);
                }
                id += 1;
                panels.push(panel.json(id, x, y));
                x += panel.width;
                tallest = tallest.max(panel.height);
            }
            y += tallest;
        }
        let links = json!([{"type": "dashboards", "tags": ["comanda"], "title": "Comanda", "asDropdown": false,
            "includeVars": false, "keepTime": true, "targetBlank": false, "icon": "external link"}]);
        let board: Value = json!({
            "uid": format!("comanda-{}", self.file), "title": self.title, "description": self.description,
            "tags": ["comanda"], "timezone": "browser", "schemaVersion": 39, "version": 1, "editable": false,
            "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
            "timepicker": {}, "templating": {"list": []}, "annotations": {"list": []}, "links": links,
            "panels": panels,
        });
        format!("{board:#}\n")
    }
}
