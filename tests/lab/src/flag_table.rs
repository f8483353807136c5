//! A table of wrong flags, each tried on a node whose Pods ping all the while: nothing may be lost, nothing may be changed, and the
//! agent must say what is wrong.

mod stage;

use std::time::Instant;

use anyhow::ensure;
pub use stage::FlagStage;

use crate::{Agent, LinkWatch, NodeState, Result, wait::patience};

/// How many pings come and go while an agent is watched that was refused, in case that it does something nevertheless.
const WATCHED: u64 = 30;

/// A wrong flag, and what must come of it.
#[derive(Clone, Debug)]
pub struct WrongFlag {
    args: Vec<String>,
    env: Vec<(String, String)>,
    value: &'static str,
    before: String,
    after: String,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// The agent ends with an error, or is not ready; either has these words.
    Refused(Vec<String>),
    /// The agent is ready, and warns with these words.
    Runs(Vec<String>),
    /// One or the other.
    Explained(Vec<String>),
}

/// A flag, and what its value is; `RUN` in it is the folder with the sockets. If no more is said, it must be refused by its name.
#[must_use]
pub fn wrong(flag: &str, value: &'static str) -> WrongFlag {
    WrongFlag {
        args: vec![flag.to_owned()],
        env: Vec::new(),
        value,
        before: String::new(),
        after: String::new(),
        outcome: Outcome::Refused(Vec::new()),
    }
}

/// A variable, and what its value is.
#[must_use]
pub fn wrong_variable(name: &str, value: &str, what: &'static str) -> WrongFlag {
    let variable = (name.to_owned(), value.to_owned());
    WrongFlag { args: Vec::new(), env: vec![variable], ..wrong("", what) }
}

impl WrongFlag {
    /// Shell lines that make the value what it is, on the node, and those that undo that. They must leave alone what was there.
    #[must_use]
    pub fn given(self, before: &str, after: &str) -> Self {
        Self { before: before.to_owned(), after: after.to_owned(), ..self }
    }

    /// Another flag.
    #[must_use]
    pub fn and(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// The agent must end, or not be ready, with these words.
    #[must_use]
    pub fn refused(self, words: &[&str]) -> Self {
        Self { outcome: Outcome::Refused(owned(words)), ..self }
    }

    /// The agent must mirror all the same, and warn with these words.
    #[must_use]
    pub fn runs(self, words: &[&str]) -> Self {
        Self { outcome: Outcome::Runs(owned(words)), ..self }
    }

    /// The agent may mirror all the same or not, and must say these words.
    #[must_use]
    pub fn explained(self, words: &[&str]) -> Self {
        Self { outcome: Outcome::Explained(owned(words)), ..self }
    }

    /// As one would type it.
    #[must_use]
    pub fn text(&self) -> String {
        let variables = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        variables.chain(self.args.iter().cloned()).collect::<Vec<_>>().join(" ")
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What became of a row of the table.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The row, for people.
    pub line: String,
    /// What is wrong, one thing a line.
    pub wrong: Vec<String>,
}

/// How an agent took its flags.
struct Verdict {
    /// In a word: `exit 2`, `503`, `ready`.
    how: String,
    /// What it said.
    said: String,
    wrong: Vec<String>,
}

impl FlagStage {
    /// Tries a flag.
    pub fn try_flag(&self, row: &WrongFlag) -> Tried {
        let tried = self.attempt(row);
        let good = matches!(&tried, Ok((_, wrong)) if wrong.is_empty());
        let (mark, text) = (if good { "ok" } else { "RED" }, row.text());
        let (rest, wrong) =
            tried.unwrap_or_else(|error| (String::new(), vec![format!("{error:#}")]));
        Tried { line: format!("{mark:<3} {text:<38} {:<44} {rest}", row.value), wrong }
    }

    /// The rest of the row, and what is wrong.
    fn attempt(&self, row: &WrongFlag) -> Result<(String, Vec<String>)> {
        self.shell(&row.before)?;
        let state = self.node().state()?;
        let links = self.node().namespace().watch_links()?;
        let places = self.places();
        let agent = self.launch(&row.args, &row.env)?;
        let Verdict { how, said, mut wrong } = match &row.outcome {
            Outcome::Refused(words) => self.expect_refusal(agent, words)?,
            Outcome::Runs(words) => expect_run(agent, words)?,
            Outcome::Explained(words) if settles(&agent, words)? => expect_run(agent, words)?,
            Outcome::Explained(words) => self.expect_refusal(agent, words)?,
        };
        let (lost, losses) = self.losses(&places);
        wrong.extend(losses);
        wrong.extend(self.changes(row, &state, &links)?);
        self.shell(&row.after)?;
        Ok((format!("{how:<7} {lost:>9}  {said}"), wrong))
    }

    fn expect_refusal(&self, agent: Agent<'_>, words: &[String]) -> Result<Verdict> {
        let deadline = Instant::now() + patience() / 6;
        let lacking = |said: &str| -> Vec<&String> {
            words.iter().filter(|word| !said.contains(word.as_str())).collect()
        };
        let said = loop {
            if !agent.runs()? {
                return ended(agent, words);
            }
            if let Ok(Some(answer)) = agent.get("/readyz") {
                if answer.status == 200 {
                    let wrong = vec!["it is ready".to_owned()];
                    let _ = self.beat(WATCHED);
                    agent.stop()?;
                    return Ok(Verdict {
                        how: "ready".into(),
                        said: one_line(&answer.body),
                        wrong,
                    });
                }
                if lacking(&answer.body).is_empty() || Instant::now() >= deadline {
                    break answer.body;
                }
            }
            ensure!(Instant::now() < deadline, "the agent neither listens nor ends");
        };
        let mut wrong: Vec<_> =
            lacking(&said).iter().map(|word| format!("/readyz does not say {word:?}")).collect();
        wrong.extend(self.beat(WATCHED).err().map(|error| format!("{error:#}")));
        if agent.is_ready()? {
            wrong.push("it is ready after all".to_owned());
        }
        agent.stop()?;
        Ok(Verdict { how: "503".into(), said: one_line(&said), wrong })
    }

    /// What is not as it was, now or at any time since.
    fn changes(
        &self,
        row: &WrongFlag,
        state: &NodeState,
        links: &LinkWatch,
    ) -> Result<Vec<String>> {
        // The kernel and Open vSwitch take some milliseconds to see the end of a port.
        let deadline = Instant::now() + patience() / 30;
        let mut changes = self.node().state()?.changes_since(state);
        while !changes.is_empty() && Instant::now() < deadline {
            changes = self.node().state()?.changes_since(state);
        }
        let (changed, new) = links.changes()?;
        let sink = row.args.iter().find_map(|arg| arg.strip_prefix("--mirror-iface="));
        let runs = !matches!(row.outcome, Outcome::Refused(_));
        // A NIC that may be taken is made ready for copies, and stays so, as README says.
        let is_theirs = |change: &&String| !(runs && sink.is_some_and(|nic| is_of(change, nic)));
        changes.retain(|change| is_theirs(&change));
        let mut changes: Vec<_> =
            changes.iter().map(|change| format!("it is left behind: {change}")).collect();
        let for_a_time = changed.iter().filter(is_theirs);
        changes.extend(for_a_time.map(|change| format!("for a time {change}")));
        if sink.is_some() && !runs {
            changes.extend(new.iter().map(|link| format!("for a time there was a link {link}")));
        }
        Ok(changes)
    }
}

/// Whether a change is one of this NIC's, not of its addresses or routes.
fn is_of(change: &str, nic: &str) -> bool {
    let change = change.trim_start_matches("link: ").trim_start_matches(['-', '+', ' ']);
    change.starts_with(&format!("{nic} "))
        || change.starts_with(&format!("\"{nic}\" "))
        || change.contains(&format!("/conf/{nic}/"))
}

/// The end of an agent that ended by itself.
fn ended(agent: Agent<'_>, words: &[String]) -> Result<Verdict> {
    let (status, said) = agent.await_end()?;
    let mut wrong: Vec<_> = words
        .iter()
        .filter(|word| !said.contains(word.as_str()))
        .map(|word| format!("it does not say {word:?}"))
        .collect();
    let code = status.code();
    if !matches!(code, Some(1 | 2)) {
        wrong.push(format!("it ended with {status}"));
    }
    let how = format!("exit {}", code.map_or("?".to_owned(), |code| code.to_string()));
    Ok(Verdict { how, said: one_line(&said), wrong })
}

/// Whether an agent gets ready, before it ends or says no in these words.
fn settles(agent: &Agent<'_>, words: &[String]) -> Result<bool> {
    let deadline = Instant::now() + patience() / 6;
    while agent.runs()? && Instant::now() < deadline {
        let answer = agent.get("/readyz")?;
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            return Ok(true);
        }
        if answer.is_some_and(|answer| words.iter().all(|word| answer.body.contains(word))) {
            return Ok(false);
        }
    }
    Ok(false)
}

fn expect_run(agent: Agent<'_>, words: &[String]) -> Result<Verdict> {
    let deadline = Instant::now() + patience() / 6;
    while !agent.is_ready()? {
        if !agent.runs()? {
            let mut verdict = ended(agent, &[])?;
            verdict.wrong.push("it ends, though it could mirror".to_owned());
            return Ok(verdict);
        }
        if Instant::now() >= deadline {
            let said = agent.get("/readyz")?.map(|answer| one_line(&answer.body));
            agent.stop()?;
            let wrong = vec!["it does not get ready".to_owned()];
            return Ok(Verdict { how: "503".into(), said: said.unwrap_or_default(), wrong });
        }
    }
    let (warnings, lacking) = loop {
        let log = agent.log()?;
        let warnings =
            log.lines().filter(|line| line.contains("WARN")).collect::<Vec<_>>().join("; ");
        let lacking = words.iter().find(|word| !warnings.contains(word.as_str()));
        if lacking.is_none() || Instant::now() >= deadline {
            break (warnings, lacking);
        }
    };
    let wrong = lacking.map(|word| format!("it does not warn of {word:?}"));
    agent.stop()?;
    let (said, wrong) = (one_line(&warnings), wrong.into_iter().collect());
    Ok(Verdict { how: "ready".into(), said, wrong })
}

/// What an agent said, in one line of bearable length.
fn one_line(text: &str) -> String {
    const MOST: usize = 160;
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
