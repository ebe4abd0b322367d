//! "Read now": what `headroom sample` does, behind a button.

use headroom::models::Role;

use super::buttons::follow;
use crate::support::app::{Browser, TestApp};
use crate::support::http::Request;
use crate::support::jvm::{Jvm, Mode};
use crate::support::sshd::{Sshd, USER};

/// A node over SSH with a JVM, and Headroom's own host.
async fn world(sshd: &Sshd, jvm: &Jvm) -> TestApp {
    let test = TestApp::start().await;
    let fleet = format!(
        "ssh_profiles:\n  - {{ name: ops, user: {USER}, port: {}, private_key_file: {:?}, host_keys: first_use }}\n\
         jvm_profiles: [{{ name: app, port: {} }}]\n\
         counters:\n  - {{ name: answer, kind: ssh, script: echo 42, threshold: 50, unit: '%' }}\n  \
         - {{ name: broken, kind: ssh, script: 'echo oops >&2; exit 3', threshold: 1 }}\n  \
         - {{ name: own, kind: local, script: echo 7, threshold: 50 }}\n  \
         - {{ name: depth, kind: jmx, mbean: 'lab:type=App,name=\"x,y\"', attribute: QueueDepth, threshold: 50 }}\n\
         clusters:\n  - name: web\n    nodes:\n      \
         - {{ name: web01, address: 127.0.0.1, ssh_profile: ops, jvm_profiles: [app] }}\n      \
         - {{ name: here, address: localhost }}\n\
         triggers: [{{ name: hot, cluster: web, counters: [answer, broken, own, depth], timing: 5m }}]\n",
        sshd.port(),
        sshd.key_file(),
        jvm.port
    );
    let admin = test.bearer(Role::Admin);
    let request = Request::new("PUT", "/api/v1/fleet").body("application/yaml", fleet);
    admin.send(request).await.expect(200);
    test
}

/// Presses the button and reads what the next page says; whether as good news.
async fn press(browser: &Browser, node: &str, fields: &[(&str, &str)]) -> (String, bool) {
    let path = format!("/nodes/{node}/readings");
    let answer = browser.post(&path, fields).await.expect(303);
    let page = follow(browser, &answer).await.expect(200).body;
    // The first of the kind waits, hidden, for a page that cannot be refreshed.
    let mut parts = page.split("<p class=\"flash");
    let flash = parts.nth(2).unwrap_or_else(|| panic!("{page}"));
    let flash = flash.split("</p>").next().unwrap();
    (flash.to_owned(), !flash.contains("flash-bad"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_of_each_kind_is_read_now_and_value_and_time_or_the_reason_are_shown() {
    let (sshd, jvm) = (Sshd::start(1), Jvm::start(Mode::Plain));
    let test = world(&sshd, &jvm).await;
    let operator = test.login(Role::Operator).await;
    for (node, counter, value) in [
        ("web01", "answer", "answer on web01 is 42 %, read at "),
        ("here", "own", "own on here is 7, read at "),
        ("web01", "depth", "depth on web01/app is 7, read at "),
    ] {
        let (said, good) = press(&operator, node, &[("counter", counter)]).await;
        assert!(good && said.contains(value), "{said}");
        assert!(said.contains(" UTC in ") && said.contains(" ms."), "{said}");
    }
    let (said, good) = press(&operator, "web01", &[("counter", "broken")]).await;
    assert!(!good, "{said}");
    assert!(
        said.contains("broken on web01 could not be read: exited with status 3"),
        "{said}"
    );
    let (said, good) = press(&operator, "web01", &[("counter", "own")]).await;
    assert!(!good && said.contains("is not read on this node"), "{said}");
    // From the counter's page back to it.
    let fields = [("counter", "answer"), ("on", "counter")];
    let answer = operator
        .post("/nodes/web01/readings", &fields)
        .await
        .expect(303);
    assert!(answer.header("location").starts_with("/counters/answer"));
    // Nothing was kept of all this.
    let page = operator.get("/counters/answer").await.expect(200).body;
    assert!(
        page.contains("Read now") && !page.contains("42 %"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_now_needs_an_operator_and_a_form_of_our_own() {
    let (sshd, jvm) = (Sshd::start(1), Jvm::start(Mode::Plain));
    let test = world(&sshd, &jvm).await;
    let viewer = test.login(Role::Viewer).await;
    let refused = viewer
        .post("/nodes/web01/readings", &[("counter", "answer")])
        .await;
    let refused = refused.expect(403);
    assert!(
        refused.body.contains("needs the role operator"),
        "{refused:?}"
    );
    let operator = test.login(Role::Operator).await;
    let forged = Request::new("POST", "/nodes/web01/readings")
        .header("sec-fetch-site", "cross-site")
        .header("origin", "https://evil.example")
        .form(&[("counter", "answer")]);
    operator.send(forged).await.expect(403);
    operator.get("/nodes/web01/readings").await.expect(405);
    operator
        .post("/nodes/none/readings", &[("counter", "answer")])
        .await
        .expect(404);
    operator
        .post("/nodes/web01/readings", &[("counter", "none")])
        .await
        .expect(404);
    assert_eq!(sshd.logins(), 0);
    for (browser, there) in [(&viewer, false), (&operator, true)] {
        for path in ["/nodes/web01", "/counters/answer"] {
            let page = browser.get(path).await.expect(200).body;
            assert_eq!(page.contains("Read now"), there, "{path}");
        }
    }
}
