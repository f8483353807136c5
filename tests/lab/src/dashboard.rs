//! `deploy/grafana/ofmirror.json`: its expressions, as Grafana would ask them.

use std::fs;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{Result, prometheus::deployed};

/// What Grafana puts for a variable of which everything is chosen, and for its own.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "1m"), ("$node", ".*"), ("$namespace", ".*"), ("$pod", ".*")];

/// An expression of a panel.
#[derive(Clone, Debug)]
pub struct Question {
    /// The panel's title.
    pub panel: String,
    /// What a series is called, with labels in `{{...}}`.
    pub legend: String,
    /// The expression, without variables.
    pub expression: String,
    /// Whether only the present counts.
    pub instant: bool,
}

/// All expressions of the dashboard, those of its variables included.
///
/// # Errors
/// The dashboard is no such, or has a variable that is not known here.
pub fn questions() -> Result<Vec<Question>> {
    let text = fs::read_to_string(deployed("grafana/ofmirror.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut questions = Vec::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            questions.push(Question {
                panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                legend: target["legendFormat"].as_str().unwrap_or_default().to_owned(),
                expression: substituted(target["expr"].as_str().context("no expression")?)?,
                instant: target["instant"] == true,
            });
        }
    }
    for variable in dashboard["templating"]["list"].as_array().context("no variables")? {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let name = variable["name"].as_str().unwrap_or_default();
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) =
            inner.and_then(|inner| inner.rsplit_once(", ")).with_context(|| query.to_owned())?;
        questions.push(Question {
            panel: format!("variable {name}"),
            legend: format!("{{{{{label}}}}}"),
            expression: substituted(&format!("group by ({label}) ({series})"))?,
            instant: true,
        });
    }
    Ok(questions)
}

fn substituted(expression: &str) -> Result<String> {
    let replace = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    let text = VARIABLES.iter().fold(expression.to_owned(), replace);
    ensure!(!text.contains('$'), "{text} has a variable that is not known");
    Ok(text)
}
