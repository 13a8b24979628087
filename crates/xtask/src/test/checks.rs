//! What is no Rust test: formatting, lints, the page's build, examples in documentation.

use std::process::Command;
use std::time::{Duration, Instant};

use super::TestOptions;
use super::report::Report;
use crate::workspace;

pub(crate) fn run(options: &TestOptions, report: &mut Report) {
    let mut format = workspace::cargo();
    format.args(["fmt", "--all", "--check"]);
    check("check: formatting", &mut format, options, report);

    for (name, script) in [("check: the page builds", "build"), ("check: the page's own tests", "test")] {
        let page = workspace::page();
        if page.join("node_modules/.installed-from").exists() {
            let mut npm = Command::new("npm");
            npm.args(["run", "--silent", script]).current_dir(page);
            check(name, &mut npm, options, report);
        } else {
            report.skipped(name, Duration::ZERO, "its npm packages are missing (see above)");
        }
    }

    let mut lints = workspace::cargo();
    lints.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    check("check: lints", &mut lints, options, report);
}

fn check(name: &str, command: &mut Command, options: &TestOptions, report: &mut Report) {
    // A filter that names one test should not wait for all the checks; the page is embedded, so it is always built.
    if !options.wants(name) && !name.contains("page builds") {
        return;
    }
    let started_at = Instant::now();
    match command.output() {
        Ok(output) if output.status.success() => report.passed(name, started_at.elapsed()),
        Ok(output) => {
            let text = [output.stdout.as_slice(), &output.stderr].concat();
            report.failed(name, started_at.elapsed(), &String::from_utf8_lossy(&text));
        }
        Err(error) => report.failed(name, started_at.elapsed(), &error.to_string()),
    }
}

/// Examples in doc comments, run by cargo itself.
pub(crate) fn documentation_tests(options: &TestOptions, report: &mut Report) {
    const NAME: &str = "documentation tests";
    if !options.wants(NAME) {
        return;
    }
    let started_at = Instant::now();
    let output = match workspace::cargo().args(["test", "--quiet", "--workspace", "--doc"]).output() {
        Ok(output) => output,
        Err(error) => return report.failed(NAME, started_at.elapsed(), &error.to_string()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let (passed, failed, ignored) = sum_of_results(&text);
    if failed == 0 && !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return report.failed(NAME, started_at.elapsed(), &format!("{text}{error}"));
    }
    report.add(passed, failed, ignored, NAME);
    println!(
        "       {:8.3} s  {NAME}: {passed} passed, {failed} failed, {ignored} skipped",
        started_at.elapsed().as_secs_f64()
    );
    if failed > 0 {
        println!("{text}");
    }
}

/// Adds up lines such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn sum_of_results(text: &str) -> (usize, usize, usize) {
    let count = |line: &str, word: &str| {
        let (before, _) = line.split_once(word)?;
        before.split_whitespace().next_back()?.parse::<usize>().ok()
    };
    let lines = text.lines().filter(|line| line.starts_with("test result:"));
    lines.fold((0, 0, 0), |(passed, failed, ignored), line| {
        (
            passed + count(line, " passed").unwrap_or(0),
            failed + count(line, " failed").unwrap_or(0),
            ignored + count(line, " ignored").unwrap_or(0),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_crates_are_summed() {
        let text = "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured\n";
        assert_eq!(sum_of_results(text), (5, 4, 1));
    }
}
