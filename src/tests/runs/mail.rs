//! Email against a real mail server.

use std::time::{Duration, Instant};

use headroom::clients::mail::Mailer;
use headroom::models::{OnFailure, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Pauses, execute};
use serde_json::{Value, json};

use super::lab::{Lab, Planned};
use crate::support::ports;
use crate::support::smtp::{Mode, Smtp};

fn mailer(url: String) -> Mailer {
    Mailer::new(Some(&url.into()), Some("Headroom <headroom@example.org>")).unwrap()
}

fn mail(address: Value) -> Planned {
    let content = "Steps ran on {{ steps.look.node }}.\n\nWhy: {{ run.reason }}\n";
    let settings = json!({"address": address, "title": "{{ trigger.name }} fired – {{ cluster.name }}", "content": content});
    Planned::new("tell", "Email", settings)
}

fn plan(lab: &Lab, address: Value) -> headroom::models::RunId {
    lab.plan(
        OnFailure::Stop,
        &[Planned::script("look", "true"), mail(address).within(5)],
    )
}

#[tokio::test]
async fn a_mail_reaches_every_recipient_over_starttls_with_a_login() {
    let server = Smtp::start(Mode::StartTls);
    let url = format!(
        "smtp://user:pa%3Ass%40word@localhost:{}?ca={}",
        server.port(),
        server.ca().display()
    );
    let lab = Lab::with_mail(mailer(url));
    let run = plan(&lab, json!(["Ops <ops@example.org>", "boss@example.org"]));
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "tell")
    );
    let mut mailbox = server.mailbox();
    mailbox.sort_by_key(|mail| mail["to"].to_string());
    assert_eq!(mailbox.len(), 2);
    let token = lab.step(run, "tell").token.unwrap();
    for (mail, to) in mailbox.iter().zip(["boss@example.org", "ops@example.org"]) {
        assert_eq!(mail["to"], json!([to]));
        assert_eq!(mail["from"], "headroom@example.org");
        assert_eq!(
            mail["headers_to"],
            "Ops <ops@example.org>, boss@example.org"
        );
        assert_eq!(mail["subject"], "hot-0 fired – web");
        assert_eq!(
            mail["text"].as_str().unwrap().trim_end(),
            "Steps ran on n1.\r\n\r\nWhy: load is high"
        );
        assert_eq!(mail["id"], format!("<{token}@example.org>"));
        assert_eq!(mail["auto"], "auto-generated");
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)));
    }
    assert_eq!(lab.output(run, "tell", "recipients"), 2);
    let report = lab.report(run, "tell").0;
    assert!(
        report
            .iter()
            .all(|entry| entry.succeeded && entry.stdout.contains("accepted as")),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_mail_goes_over_tls_from_the_beginning() {
    let server = Smtp::start(Mode::Tls);
    let url = format!(
        "smtps://user:pa%3Ass%40word@localhost:{}?ca={}",
        server.port(),
        server.ca().display()
    );
    let lab = Lab::with_mail(mailer(url));
    let run = plan(&lab, json!("ops@example.org"));
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "tell")
    );
    assert_eq!(server.mailbox()[0]["tls"], true);
}

#[tokio::test]
async fn what_a_server_refuses_fails_the_step_with_its_own_words() {
    let server = Smtp::start(Mode::Plain);
    let lab = Lab::with_mail(mailer(format!(
        "smtp://localhost:{}?tls=none",
        server.port()
    )));
    let run = plan(
        &lab,
        json!([
            "refused@example.org",
            "ops@example.org",
            "later@example.org"
        ]),
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let error = lab.error(run, "tell");
    for part in [
        "could not send mail to refused@example.org by localhost:",
        "5.1.1 no such mailbox",
        "so repeating it does not help",
        "4.7.1 greylisted, come back later",
        "it may work later",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    assert_eq!(
        server.mailbox().len(),
        1,
        "the one that was not refused has its mail"
    );
    let told: Vec<_> = lab
        .report(run, "tell")
        .0
        .iter()
        .map(|entry| entry.succeeded)
        .collect();
    assert_eq!(told, [false, true, false]);
}

#[tokio::test]
async fn faults_of_the_connection_are_named_and_never_show_the_password() {
    let (starttls, plain) = (Smtp::start(Mode::StartTls), Smtp::start(Mode::Plain));
    let nobody = ports::free();
    for (url, part) in [
        (
            format!(
                "smtp://user:geheim@localhost:{}?ca={}",
                starttls.port(),
                starttls.ca().display()
            ),
            "so repeating it does not help",
        ),
        (
            format!("smtp://user:geheim@localhost:{}", starttls.port()),
            "invalid peer certificate",
        ),
        (
            format!("smtp://user:geheim@localhost:{}?tls=required", plain.port()),
            "STARTTLS is not supported",
        ),
        (
            format!("smtp://user:geheim@localhost:{nobody}"),
            "Connection refused",
        ),
        (
            format!("smtp://user:geheim@nowhere.invalid:{nobody}"),
            "by nowhere.invalid:",
        ),
    ] {
        let lab = Lab::with_mail(mailer(url.clone()));
        let run = plan(&lab, json!("ops@example.org"));
        assert_eq!(lab.drive(run).await, RunState::Failed, "{url}");
        let error = lab.error(run, "tell");
        assert!(error.contains(part), "{url}: {error}");
        let everything = format!("{:?}{:?}", lab.log(run), lab.steps(run));
        assert!(!everything.contains("geheim"), "{everything}");
    }
    assert!(starttls.mailbox().is_empty() && plain.mailbox().is_empty());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_at_the_time_limit() {
    let server = Smtp::start(Mode::Silent);
    let lab = Lab::with_mail(mailer(format!(
        "smtp://localhost:{}?tls=none",
        server.port()
    )));
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::new(
            "tell",
            "Email",
            json!({"address": "a@example.org", "title": "t", "content": "c"}),
        )
        .within(1)],
    );
    let begin = Instant::now();
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(
        lab.error(run, "tell")
            .contains("did not answer in time; it may have been sent nevertheless")
    );
}

#[tokio::test]
async fn a_server_that_asks_to_come_back_later_is_asked_again_and_nobody_gets_a_mail_twice() {
    let server = Smtp::start(Mode::Plain);
    let lab = Lab::with_mail(mailer(format!(
        "smtp://localhost:{}?tls=none",
        server.port()
    )));
    let run = plan(&lab, json!(["ops@example.org", "grey@example.org"]));
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "tell")
    );
    let to: Vec<_> = server
        .mailbox()
        .iter()
        .map(|mail| mail["to"][0].clone())
        .collect();
    assert_eq!(to, ["ops@example.org", "grey@example.org"]);
    let step = lab.step(run, "tell");
    assert_eq!(step.attempt, 2);
    assert!(step.tried().unwrap()[0].error.contains("4.7.1 greylisted"));
    assert_eq!(
        lab.report(run, "tell").0[0].stdout,
        "sent by an earlier attempt"
    );
}

#[tokio::test]
async fn only_whose_own_mail_may_still_arrive_is_asked_again_until_a_person_begins_anew() {
    let server = Smtp::start(Mode::Plain);
    let lab = Lab::with_mail(mailer(format!(
        "smtp://localhost:{}?tls=none",
        server.port()
    )));
    let to = ["ops", "refused", "grey", "lost", "ops"].map(|who| format!("{who}@example.org"));
    let run = plan(&lab, json!(to));
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let (ops, refused, grey, lost) = (
        "ops@example.org",
        "refused@example.org",
        "grey@example.org",
        "lost@example.org",
    );
    let asked = server.asked();
    let times = |who: &str| asked.iter().filter(|asked| *asked == who).count();
    assert_eq!(
        [ops, refused, grey, lost].map(times),
        [1, 1, 2, 1],
        "{asked:?}"
    );
    let step = lab.step(run, "tell");
    assert_eq!(step.attempt, 2);
    let fates = lab.output(run, "tell", "fates");
    let told: Vec<_> = fates
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["to"].as_str().unwrap(), one["fate"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (ops, "sent"),
            (refused, "refused"),
            (grey, "sent"),
            (lost, "perhaps_sent")
        ]
    );
    let error = step.error.unwrap();
    for part in [
        "could not send mail to refused@example.org",
        "5.1.1 no such mailbox",
        "so repeating it does not help",
        "could not send mail to lost@example.org",
        "so it may have been sent nevertheless; 2 attempts were made",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("grey"), "{error}");
    let report = lab.report(run, "tell").0;
    let said: Vec<_> = report.iter().map(|entry| entry.stdout.as_str()).collect();
    assert_eq!(said[..2], ["sent by an earlier attempt", "not asked again"]);
    assert!(said[2].contains("accepted as"), "{report:?}");

    // Who looked, and has it sent anew, means those who have nothing.
    let ann = Decision::new("ann", Via::Page, "the mailbox is there now", 9);
    lab.write(|conn| control::retry_step(conn, run, step.id, &ann));
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let asked = server.asked();
    let times = |who: &str| asked.iter().filter(|asked| *asked == who).count();
    assert_eq!(
        [ops, refused, grey, lost].map(times),
        [1, 2, 2, 2],
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_listen_yet_is_asked_again_until_it_does() {
    let port = ports::free();
    let mut lab = Lab::with_mail(mailer(format!("smtp://localhost:{port}?tls=none")));
    lab.ctx.pauses = Pauses {
        first: Duration::from_millis(300),
        longest: Duration::from_secs(1),
    };
    let tell = mail(json!(["ops@example.org", "boss@example.org"])).within(30);
    let look = Planned::script("look", "true");
    let run = lab.plan(OnFailure::Stop, &[look, tell]);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let refused = || !lab.step(run, "tell").tried().unwrap().is_empty();
    let begin = Instant::now();
    while !refused() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            lab.log(run)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let server = Smtp::start_on(port, Mode::Plain);
    driven.await.unwrap().unwrap();
    let step = lab.step(run, "tell");
    assert_eq!(step.state, StepState::Succeeded, "{:?}", step.error);
    let tried = step.tried().unwrap();
    assert!(tried[0].error.contains("Connection refused"), "{tried:?}");
    assert!(tried[0].error.contains("it may work later"), "{tried:?}");
    let mut to: Vec<_> = server
        .mailbox()
        .iter()
        .map(|mail| mail["to"][0].clone())
        .collect();
    to.sort_by_key(Value::to_string);
    assert_eq!(to, ["boss@example.org", "ops@example.org"], "each once");
}

#[tokio::test]
async fn a_mail_whose_acceptance_was_lost_is_not_sent_again_unless_it_may_be() {
    for repeatable in [false, true] {
        let server = Smtp::start(Mode::Plain);
        let lab = Lab::with_mail(mailer(format!(
            "smtp://localhost:{}?tls=none",
            server.port()
        )));
        let settings = json!({
            "address": "lost@example.org", "title": "t", "content": "c", "repeatable": repeatable,
        });
        let tell = Planned::new("tell", "Email", settings).within(6);
        let run = lab.plan(OnFailure::Stop, &[tell]);
        assert_eq!(lab.drive(run).await, RunState::Failed);
        let error = lab.error(run, "tell");
        assert!(
            error.contains("so it may have been sent nevertheless"),
            "{error}"
        );
        let (attempt, mails) = (lab.step(run, "tell").attempt, server.mailbox().len());
        assert_eq!(attempt > 1, repeatable, "{attempt}: {error}");
        assert_eq!(i32::try_from(mails).unwrap(), attempt);
    }
}

#[tokio::test]
async fn without_a_server_the_step_says_which_setting_is_missing() {
    let lab = Lab::new();
    let run = plan(&lab, json!("ops@example.org"));
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "tell")
            .contains("set HEADROOM_SMTP_URL and HEADROOM_MAIL_FROM")
    );
}

#[tokio::test]
async fn a_value_cannot_add_headers_to_a_mail() {
    let server = Smtp::start(Mode::Plain);
    let lab = Lab::with_mail(mailer(format!(
        "smtp://localhost:{}?tls=none",
        server.port()
    )));
    let settings = json!({"address": "ops@example.org", "title": "{{ steps.find.output }}", "content": ".\r\nx"});
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script(
                "find",
                "printf 'a\\r\\nBcc: evil@example.org\\r\\n\\r\\nbody'",
            ),
            Planned::new("tell", "Email", settings),
        ],
    );
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "tell")
    );
    let mailbox = server.mailbox();
    assert_eq!(mailbox.len(), 1);
    assert_eq!(mailbox[0]["subject"], "a Bcc: evil@example.org body");
    assert_eq!(mailbox[0]["to"], json!(["ops@example.org"]));
    assert_eq!(mailbox[0]["text"], ".\r\nx\r\n");
}
