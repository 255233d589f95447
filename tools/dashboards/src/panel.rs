//! A panel: what it asks, and how the answer is drawn.

use serde_json::{Value, json};

/// Everything that is asked goes to the one data source of `grafana/provisioning`.
fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "prometheus"})
}

/// How the answer is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawn {
    Lines,
    Number,
    HeatMap,
    States,
}

/// A panel.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    drawn: Drawn,
    queries: Vec<(String, &'static str)>,
    thresholds: Vec<(&'static str, Option<f64>)>,
    mappings: Value,
    stacked: bool,
    /// Of the 24 columns.
    pub width: u32,
    /// In rows of some 30 pixels.
    pub height: u32,
}

impl Panel {
    fn new(drawn: Drawn, title: &'static str, unit: &'static str, description: &'static str) -> Self {
        let (width, height) = if drawn == Drawn::Number { (3, 4) } else { (8, 8) };
        Self {
            title,
            description,
            unit,
            drawn,
            queries: Vec::new(),
            thresholds: vec![("green", None)],
            mappings: json!([]),
            stacked: false,
            width,
            height,
        }
    }

    /// Lines over time.
    pub(crate) fn lines(title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self::new(Drawn::Lines, title, unit, description)
    }

    /// One number, as it is now.
    pub(crate) fn number(title: &'static str, unit: &'static str, description: &'static str) -> Self {
        Self::new(Drawn::Number, title, unit, description)
    }

    /// How often which size, over time. `histogram` is a metric's name, with labels if need be.
    pub(crate) fn heat_map(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
        histogram: &str,
        labels: &str,
    ) -> Self {
        let expression = format!("sum by (le) (increase({histogram}_bucket{labels}[$__rate_interval]))");
        Self::new(Drawn::HeatMap, title, unit, description).ask(expression, "{{le}}")
    }

    /// Which state, over time.
    pub(crate) fn states(
        title: &'static str,
        description: &'static str,
        states: &[(i32, &str, &str)],
    ) -> Self {
        let options: serde_json::Map<String, Value> = states
            .iter()
            .map(|(value, text, color)| (value.to_string(), json!({"text": text, "color": color})))
            .collect();
        let mut panel = Self::new(Drawn::States, title, "short", description);
        panel.mappings = json!([{"type": "value", "options": options}]);
        panel
    }

    /// Adds a question; `legend` names its answer.
    pub(crate) fn ask(mut self, expression: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push((expression.into(), legend));
        self
    }

    /// Adds the usual quantiles of a histogram.
    pub(crate) fn ask_quantiles(self, histogram: &str, labels: &str) -> Self {
        let quantile = |q: &str| {
            format!(
                "histogram_quantile({q}, sum by (le) (rate({histogram}_bucket{labels}[$__rate_interval])))"
            )
        };
        self.ask(quantile("0.5"), "half within")
            .ask(quantile("0.95"), "95 % within")
            .ask(quantile("0.99"), "99 % within")
    }

    /// From here on it is worth a look, and from there on it is bad.
    pub(crate) fn limits(mut self, worth_a_look: f64, bad: f64) -> Self {
        self.thresholds = vec![("green", None), ("orange", Some(worth_a_look)), ("red", Some(bad))];
        self
    }

    /// Below this it is bad.
    pub(crate) fn at_least(mut self, least: f64) -> Self {
        self.thresholds = vec![("red", None), ("green", Some(least))];
        self
    }

    /// Lines stand on each other: together they are a whole.
    pub(crate) fn stacked(mut self) -> Self {
        self.stacked = true;
        self
    }

    /// So many of the 24 columns.
    pub(crate) fn wide(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    /// As Grafana reads it.
    pub(crate) fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let format = if self.drawn == Drawn::HeatMap { "heatmap" } else { "time_series" };
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip('A'..)
            .map(|((expression, legend), letter)| {
                json!({"refId": letter.to_string(), "datasource": datasource(), "expr": expression,
                    "legendFormat": legend, "format": format, "editorMode": "code", "range": true})
            })
            .collect();
        let steps: Vec<Value> =
            self.thresholds.iter().map(|(color, value)| json!({"color": color, "value": value})).collect();
        let (kind, custom, options) = self.drawing();
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.description,
            "datasource": datasource(), "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": targets, "options": options,
            "fieldConfig": {"overrides": [], "defaults": {
                "unit": self.unit, "min": 0, "custom": custom, "mappings": self.mappings,
                "thresholds": {"mode": "absolute", "steps": steps}}},
        })
    }

    fn drawing(&self) -> (&'static str, Value, Value) {
        let limited = self.thresholds.len() > 1;
        let stacking = if self.stacked { "normal" } else { "none" };
        match self.drawn {
            Drawn::Lines => (
                "timeseries",
                json!({"drawStyle": "line", "lineWidth": 1, "fillOpacity": if self.stacked { 25 } else { 5 },
                    "showPoints": "never", "spanNulls": false, "stacking": {"mode": stacking, "group": "A"},
                    "thresholdsStyle": {"mode": if limited { "dashed" } else { "off" }}}),
                json!({"legend": {"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": ["lastNotNull", "max"]},
                    "tooltip": {"mode": "multi", "sort": "desc"}}),
            ),
            Drawn::Number => (
                "stat",
                json!({}),
                json!({"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                    "colorMode": if limited { "background" } else { "value" }, "graphMode": "area",
                    "textMode": "auto", "justifyMode": "center"}),
            ),
            Drawn::HeatMap => (
                "heatmap",
                json!({"scaleDistribution": {"type": "linear"}}),
                json!({"calculate": false, "yAxis": {"unit": self.unit, "axisPlacement": "left"},
                    "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
                    "cellGap": 1, "legend": {"show": true}, "tooltip": {"mode": "single", "yHistogram": true},
                    "filterValues": {"le": 1e-9}}),
            ),
            Drawn::States => (
                "state-timeline",
                json!({"fillOpacity": 80, "lineWidth": 0}),
                json!({"mergeValues": true, "showValue": "auto", "alignValue": "center", "rowHeight": 0.8,
                    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                    "tooltip": {"mode": "single"}}),
            ),
        }
    }
}
