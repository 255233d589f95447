//! docs/security.md: each of its rows links a test that is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Fewest rows.
const ROWS: usize = 45;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Text and target of every link in a line: `[text](target)`.
fn links(line: &str) -> Vec<(&str, &str)> {
    line.split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once("]("))
        .filter_map(|(text, rest)| Some((text, rest.split_once(')')?.0)))
        .collect()
}

/// Whether this file has a test of this name: a function with the attribute of one, or a proptest's.
fn has_test(source: &str, name: &str) -> bool {
    let declared = source.find(&format!("fn {name}("));
    declared
        .is_some_and(|at| source[..at].rsplit("\n\n").next().is_some_and(|before| before.contains("test")))
}

#[test]
fn every_row_of_the_security_page_links_a_test_that_is_there() -> Result<()> {
    let page = std::fs::read_to_string(docs().join("security.md"))?;
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat")).collect();
    ensure!(rows.len() >= ROWS, "docs/security.md has {} rows; {ROWS} are promised", rows.len());
    let mut threats = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [threat, does, tests] = cells[..] else { anyhow::bail!("not three cells: {row}") };
        ensure!(threats.insert(threat), "twice: {threat}");
        ensure!(!does.trim().is_empty(), "says nothing: {row}");
        let linked = links(tests);
        ensure!(!linked.is_empty(), "no test: {row}");
        for (name, file) in linked {
            let source =
                std::fs::read_to_string(docs().join(file)).with_context(|| format!("{file}, of: {row}"))?;
            ensure!(has_test(&source, name.trim_matches('`')), "{file} has no test {name}: {row}");
        }
    }
    Ok(())
}

#[test]
fn a_link_to_a_test_that_was_renamed_is_noticed() {
    let source =
        "#[test]\nfn one() {\n\n    let x = 1;\n}\n\n#[tokio::test]\nasync fn other() {}\n\nfn helper() {}\n";
    assert!(has_test(source, "one") && has_test(source, "other"));
    assert!(!has_test(source, "on") && !has_test(source, "helper") && !has_test(source, "another"));
    assert_eq!(links("a [b](c.rs), [d](e.rs)"), [("b", "c.rs"), ("d", "e.rs")]);
}

/// What CI runs asks for advisories, and what it lets pass is named with its reason.
#[test]
fn every_build_asks_for_advisories_and_the_exceptions_have_reasons() -> Result<()> {
    let ci = std::fs::read_to_string(docs().join("../.ci/run"))?;
    ensure!(ci.lines().any(|line| line == "step make deny"), "CI does not run make deny");
    let deny = std::fs::read_to_string(docs().join("../deny.toml"))?;
    ensure!(deny.contains("[advisories]"));
    for exception in
        deny.lines().filter(|line| line.contains("RUSTSEC-") && !line.trim_start().starts_with('#'))
    {
        ensure!(exception.contains("reason"), "an advisory is let pass without a reason: {exception}");
    }
    Ok(())
}
