//! What pages say: who may see them, that they give reasons, and that they change nothing.

use headroom::models::Role;

use super::scene;
use crate::support::app::TestApp;

/// Every page, with what it must say of the story.
const PAGES: [(&str, &[&str]); 22] = [
    (
        "/",
        &[
            "Wrong now",
            "Run 5 of web-hot",
            "Node web07",
            "connection refused by 10.0.0.7:22",
            "About to happen",
            "Trigger db-load",
            "fires in",
        ],
    ),
    ("/clusters", &["web", "db", "batch", "no nodes"]),
    (
        "/clusters/web",
        &[
            "web03",
            "connection refused by 10.0.0.7:22",
            "&#62; 80 %",
            "heap dump under way",
        ],
    ),
    ("/clusters/batch", &["This cluster has no nodes yet"]),
    (
        "/nodes/web03",
        &[
            "over its threshold for 7 min (8 in a row)",
            "10.0.0.3",
            "as <code>ops</code> on port 22",
        ],
    ),
    ("/nodes/web09", &["Accept this key", "SHA256:"]),
    (
        "/counters",
        &["cpu", "&#62; 80 %", "no trigger, so it is not read"],
    ),
    (
        "/counters/cpu",
        &["class=\"threshold\"", "class=\"band\"", "min ", "top -bn1"],
    ),
    (
        "/triggers",
        &[
            "web-hot",
            "any of cpu, load1 on any node for 5 min",
            "dry run",
        ],
    ),
    (
        "/triggers/web-hot",
        &[
            "Would it fire now?",
            "Why, and why not",
            "cooldown",
            "LocalScript on the cluster",
        ],
    ),
    (
        "/triggers/web-hot/run",
        &[
            "all 9 nodes of the cluster web",
            "Nothing has been started yet",
        ],
    ),
    ("/runs", &["stuck", "succeeded", "the shop is slow"]),
    (
        "/runs/5",
        &[
            "This step needs a person",
            "Mark as done",
            "it cannot be told whether it went out",
        ],
    ),
    ("/runs/3", &["exit status 1", "Job for app.service failed."]),
    ("/actions", &["restart", "LocalScript"]),
    ("/actions/restart", &["systemctl restart app", "Run it now"]),
    (
        "/profiles",
        &["web-small", "file /etc/headroom/id_ed25519", "tomcat"],
    ),
    ("/instances", &["What disagrees", "Nobody has looked yet."]),
    (
        "/holds",
        &["heap dump under way", "trigger web-memory", "Begin a hold"],
    ),
    (
        "/tasks",
        &[
            "29 readings, 3 errors",
            "headroom-1:4711",
            "reads every due counter",
        ],
    ),
    ("/audit", &["ann", "trigger web-hot"]),
    ("/account", &["Change the password"]),
];

/// Text of buttons that a viewer must not be offered.
const BUTTONS: [&str; 7] = [
    "Hold everything",
    "Cancel the run",
    "<button class=\"tiny\">Lift",
    "Begin the hold",
    "Look now",
    "<button class=\"primary\">Run now",
    "formaction",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_says_what_it_must_to_every_role_and_sends_strangers_to_the_login() {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let admin = test.login(Role::Admin).await;
    let operator = test.login(Role::Operator).await;
    let viewer = test.login(Role::Viewer).await;
    for (path, wanted) in PAGES {
        let page = admin.get(path).await.expect(200);
        for text in wanted {
            assert!(
                page.body.contains(text),
                "{path} does not say {text:?}: {}",
                page.body
            );
        }
        operator.get(path).await.expect(200);
        let page = viewer.get(path).await.expect(200);
        for button in BUTTONS {
            assert!(
                !page.body.contains(button),
                "{path} offers {button:?} to a viewer"
            );
        }
        let answer = test.anonymous().get(path).await.expect(303);
        assert!(
            answer.header("location").starts_with("/login"),
            "{path}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_obey_their_own_policy_and_link_to_nothing_that_is_missing() {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let admin = test.login(Role::Admin).await;
    let mut seen = std::collections::BTreeSet::new();
    for (path, _) in PAGES {
        let page = admin.get(path).await.expect(200).body;
        assert!(
            !page.contains(" style=") && !page.contains("<style"),
            "{path} has a style inline"
        );
        assert!(
            !page.contains("javascript:") && !page.contains(" onclick="),
            "{path} has a script inline"
        );
        for tag in page.split("<script").skip(1) {
            assert!(
                tag.starts_with(" src="),
                "{path} has a script inline: {tag:.80}"
            );
        }
        for link in page
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            let link = link.replace("&#38;", "&").replace("&amp;", "&");
            let link = link.split('#').next().unwrap().to_owned();
            if link.starts_with('/') && seen.insert(link.clone()) {
                admin.get(&link).await.expect(200);
            }
        }
    }
    assert!(seen.len() > 60, "only {} links were followed", seen.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_headroom_says_how_to_begin_and_a_search_without_hits_says_so() {
    let test = TestApp::start().await;
    let viewer = test.login(Role::Viewer).await;
    let first = viewer.get("/").await.expect(200).body;
    assert!(
        first.contains("Nothing is watched yet") && first.contains("headroom apply -f fleet.yaml"),
        "{first}"
    );
    for (path, none_yet) in [
        ("/counters", "No counter yet."),
        ("/triggers", "No trigger yet."),
        ("/actions", "No action yet."),
    ] {
        assert!(
            viewer.get(path).await.expect(200).body.contains(none_yet),
            "{path}"
        );
        let found = viewer.get(&format!("{path}?q=nope")).await.expect(200).body;
        assert!(
            found.contains("in its name") && !found.contains(none_yet),
            "{path}: {found}"
        );
    }
    assert!(
        viewer
            .get("/runs")
            .await
            .expect(200)
            .body
            .contains("No run yet.")
    );
    let none_here = viewer.get("/runs?state=stuck").await.expect(200).body;
    assert!(none_here.contains("No run is here.") && !none_here.contains("No run yet."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_a_page_with_a_way_back() {
    let test = TestApp::start().await;
    let viewer = test.login(Role::Viewer).await;
    for (path, said) in [
        ("/clusters/none", "Cluster \"none\" does not exist."),
        ("/nodes/none", "Node \"none\" does not exist."),
        ("/counters/none", "Counter \"none\" does not exist."),
        ("/triggers/none", "Trigger \"none\" does not exist."),
        ("/actions/none", "Action \"none\" does not exist."),
        ("/runs/77", "Run 77 does not exist."),
        ("/runs/x", "There is nothing at this address."),
    ] {
        let page = viewer
            .get(path)
            .await
            .expect(404)
            .body
            .replace("&#34;", "\"");
        assert!(
            page.contains(said) && page.contains("Back to the dashboard"),
            "{path}: {page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_title_and_the_icon_tell_how_much_is_wrong() {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get("/account").await.expect(200).body;
    let wrong = page
        .split("<title>(")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .unwrap();
    assert!(wrong.parse::<usize>().unwrap() >= 3, "{wrong}");
    assert!(
        page.contains(&format!("content=\"{wrong} things are wrong\"")),
        "{page}"
    );
    assert!(page.contains("b3132b"), "the icon is red");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_graph_tells_gaps_breaches_threshold_and_runs_to_the_plotter() {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let viewer = test.login(Role::Viewer).await;
    let graph = viewer
        .get("/counters/cpu/graph?secs=3600&cluster=web")
        .await
        .expect(200)
        .json();
    assert_eq!(graph["threshold"], 80.0);
    let labels: Vec<&str> = graph["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels.len(), 9, "{labels:?}");
    let of = |name: &str| {
        graph["series"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["label"] == name)
            .unwrap()["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert!(
        of("web05").iter().any(|point| point[1].is_null()),
        "the gap of web05 is a null"
    );
    assert!(
        of("web01").iter().all(|point| !point[1].is_null()),
        "web01 has no gap"
    );
    assert_eq!(
        graph["breaches"].as_array().unwrap().len(),
        2,
        "{}",
        graph["breaches"]
    );
    assert!(!graph["runs"].as_array().unwrap().is_empty());
    let one = viewer
        .get("/counters/cpu/graph?node=web03")
        .await
        .expect(200)
        .json();
    assert_eq!(one["series"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_are_sorted_searched_and_cut_into_pages() {
    let test = TestApp::start().await;
    let nodes: String = (1..=120)
        .map(|n| format!("      - {{ name: n{n:03}, address: 10.1.0.{n}, ssh_profile: ops }}\n"))
        .collect();
    let fleet = format!(
        "ssh_profiles:\n  - {{ name: ops, user: ops, private_key_file: /k, host_keys: first_use }}\nclusters:\n  - name: big\n    nodes:\n{nodes}"
    );
    scene::define(&test.app, 0, &fleet);
    let viewer = test.login(Role::Viewer).await;
    let page = viewer
        .get("/clusters/big?sort=-name")
        .await
        .expect(200)
        .body;
    assert!(
        page.contains(">n120</a>") && !page.contains(">n070</a>"),
        "the first page ends at 50 rows"
    );
    assert!(page.contains("1 to 50 of 120") && page.contains("aria-sort=\"descending\""));
    let last = viewer
        .get("/clusters/big?sort=-name&page=3")
        .await
        .expect(200)
        .body;
    assert!(
        last.contains(">n001</a>") && last.contains("101 to 120 of 120"),
        "{last}"
    );
    let found = viewer.get("/clusters/big?q=N007").await.expect(200).body;
    assert!(found.contains(">n007</a>") && !found.contains(">n008</a>"));
}
