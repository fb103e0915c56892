//! The API without gRPC: the page's lines as curl runs them, and the OpenAPI document as a validator that is not ours judges it.
//!
//! A page's shell blocks are run as one script. Each line that calls curl has to succeed, and with the token taken away it has to
//! be refused with 401; `# refused: REASON` above one says that it is refused with the token as well, and how.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use harness::parts::{Part, workspace};
use harness::signing::{Signer, manifest};
use libtest_mimic::Trial;

use crate::calls::Scene;
use crate::{Result, trial};

const PAGE: &str = "docs/operate/http.md";

/// What the page needs no token for.
const OPEN: &str = "openapi.json";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every_line_of_the_page_on_http_does_what_the_page_says", &[Part::Curl, Part::Python3], page),
        trial("the_openapi_document_is_valid", &[Part::Curl, Part::OpenapiSpecValidator], document),
    ]
}

/// The scene, with an agent's binary and its signature beside.
async fn scene() -> Result<Scene> {
    let scene = Scene::new().await?;
    let bytes: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let signed =
        Signer::new()?.sign_manifest(&bytes, &manifest("1.2.0", domain::Channel::Stable, 2, "0.0.1", &bytes))?;
    fs::write(scene.folder().join("novacula-agent"), bytes)?;
    fs::write(scene.folder().join("novacula-agent.minisig"), signed)?;
    Ok(scene)
}

async fn page() -> Result {
    let scene = scene().await?;
    let lines = lines()?;
    let calls: Vec<_> = lines.iter().filter(|line| line.is_call()).collect();
    ensure!(calls.len() >= 15, "{calls:?}");
    let mut script = String::new();
    for line in &lines {
        let text = &line.text;
        if line.is_call() {
            script.push_str(&format!(
                "if said=$({text} 2>&1); then echo '== 0'; else echo \"== $?\"; fi\nprintf '%s\\n' \"$said\"\n"
            ));
        } else {
            script.push_str(&format!("{text}\n"));
        }
    }
    let output = scene.shell(&script)?;
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the page ended with {}: {said}{trouble}", output.status);
    let mut answers = said.split("== ").skip(1);
    for Line { text, refused } in calls {
        let (head, said) = answers.next().and_then(|answer| answer.split_once('\n')).context("an answer")?;
        match refused {
            None => ensure!(head == "0", "{text}\nfailed ({head}): {said}"),
            Some(reason) => {
                ensure!(
                    head == "22" && said.contains(&format!("\"reason\":\"{reason}\"")),
                    "{text}\nis not refused so: {said}"
                );
            }
        }
    }
    // And without a token, one by one.
    let asks = |line: &&Line| line.text.contains("curl") || line.text.contains("attempt.json");
    let settings = lines.iter().filter(|line| line.is_setting() && !asks(line));
    let settings: String = settings.map(|line| format!("{}\n", line.text)).collect();
    for Line { text, .. } in lines.iter().filter(|line| line.is_call() && !line.text.contains(OPEN)) {
        let script = format!("{settings}TOKEN='x-nothing: 1'\nATTEMPT=unknown\nOFFSET=4096\n{text}");
        let output = scene.shell(&script)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(!output.status.success() && said.contains("401"), "{text}\nwithout a token: {said}");
    }
    Ok(())
}

async fn document() -> Result {
    let scene = scene().await?;
    let fetch = "curl --cacert ca.pem --silent --show-error --fail --output openapi.json https://control.example:7443/openapi.json";
    let output = scene.shell(fetch)?;
    ensure!(output.status.success(), "{output:?}");
    let path = scene.folder().join("openapi.json");
    let validate = |path: &std::path::Path| {
        Command::new(Part::OpenapiSpecValidator.find()?).arg(path).output().context("start it")
    };
    let judged = validate(&path)?;
    ensure!(
        judged.status.success(),
        "{}{}",
        String::from_utf8_lossy(&judged.stdout),
        String::from_utf8_lossy(&judged.stderr)
    );
    // It is one that says no.
    let broken = fs::read_to_string(&path)?.replacen("\"responses\"", "\"answers\"", 1);
    let wrong = scene.folder().join("wrong.json");
    fs::write(&wrong, broken.replace("\"in\":\"path\"", "\"in\":\"nowhere\""))?;
    ensure!(!validate(&wrong)?.status.success(), "it accepts anything");
    Ok(())
}

/// A line of the page's shell blocks.
#[derive(Debug)]
struct Line {
    text: String,
    refused: Option<String>,
}

// === impl Line ===

impl Line {
    /// What asks, and is answered.
    fn is_call(&self) -> bool {
        (self.text.starts_with("curl ") || self.text.contains("| curl ")) && !self.is_setting()
    }

    /// A variable, asked for by nobody or by the calls before.
    fn is_setting(&self) -> bool {
        let name = self.text.split('=').next().unwrap_or_default();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    }
}

fn lines() -> Result<Vec<Line>> {
    let text = fs::read_to_string(workspace().join(PAGE))?;
    let (mut lines, mut refused, mut shell) = (Vec::new(), None, false);
    for line in text.lines() {
        if line.starts_with("```") {
            shell = line == "```sh";
        } else if let Some(reason) = line.strip_prefix("# refused: ").filter(|_| shell) {
            refused = Some(reason.to_owned());
        } else if shell {
            lines.push(Line { text: line.to_owned(), refused: refused.take() });
        }
    }
    Ok(lines)
}
