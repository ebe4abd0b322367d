use super::*;
use crate::support::jvm::Mode;

#[tokio::test]
async fn a_login_is_needed_and_a_wrong_password_is_told() {
    let jvm = Jvm::start(Mode::Password);
    let jmx = jmx();
    let depth_as = async |login| depth(&jmx, &reached(jvm.port, login, None)).await;
    assert_eq!(depth_as(Some(LOGIN)).await, Ok(Datum::Integer(7)));
    let place = format!("could not log in to 127.0.0.1:{}: ", jvm.port);
    let wrong = depth_as(Some((LOGIN.0, "hunter2"))).await.unwrap_err();
    assert_eq!(
        wrong,
        format!(
            "{place}the JVM refused the login as \"monitorRole\": Invalid username or password"
        )
    );
    let nobody = depth_as(None).await.unwrap_err();
    assert_eq!(
        nobody,
        format!(
            "{place}the JVM refused a login without user and password: Authentication failed! Credentials required"
        )
    );
    assert_eq!(jmx.open_connections(), 1, "only the good one is kept");
    jmx.close().await;
    assert_eq!(jmx.open_connections(), 0);
}

#[tokio::test]
async fn tls_needs_a_trusted_certificate_and_covers_the_registry_too() {
    let (jvm, plain_registry) = (Jvm::start(Mode::Tls), Jvm::start(Mode::PlainRegistry));
    let jmx = eager_jmx();
    for jvm in [&jvm, &plain_registry] {
        let known = reached(jvm.port, None, trusting(&jvm.certificate()));
        for _ in 0..2 {
            assert_eq!(depth(&jmx, &known).await, Ok(Datum::Integer(7)));
        }
    }
    let other = plain_registry.certificate();
    let unknown = reached(jvm.port, None, trusting(&other));
    let why = depth(&jmx, &unknown).await.unwrap_err();
    assert_eq!(
        why,
        format!(
            "could not log in to 127.0.0.1:{0}: the certificate of 127.0.0.1:{0} is not trusted: the certificates in the profile's ca_file did not sign it",
            jvm.port
        )
    );
    let why = depth(&jmx, &reached(jvm.port, None, None))
        .await
        .unwrap_err();
    assert!(
        why.ends_with("expects TLS: set tls: true in the jvm profile"),
        "{why}"
    );
    let plain = depth(&jmx, &reached(plain_registry.port, None, None)).await;
    let why = plain.unwrap_err();
    assert!(
        why.ends_with("expects TLS: set tls: true in the jvm profile"),
        "{why}"
    );
    let named = Way::Rmi(Address::new("localhost", jvm.port));
    let named = Arc::new(Reached::new(named, None, trusting(&jvm.certificate())));
    let why = depth(&jmx, &named).await.unwrap_err();
    assert!(why.contains("is not for the name localhost"), "{why}");
}

#[tokio::test]
async fn a_restarted_jvm_is_read_in_the_same_tick_and_a_dead_or_frozen_one_delays_no_other() {
    let (mut jvm, steady) = (Jvm::start(Mode::Plain), Jvm::start(Mode::Plain));
    let jmx = eager_jmx();
    let (first, second) = (
        reached(jvm.port, None, None),
        reached(steady.port, None, None),
    );
    assert_eq!(depth(&jmx, &first).await, Ok(Datum::Integer(7)));
    jvm.restart();
    assert_eq!(
        depth(&jmx, &first).await,
        Ok(Datum::Integer(7)),
        "the objects of the old JVM are gone, those of the new one are looked up"
    );

    jvm.freeze();
    let begun = Instant::now();
    let asks = [
        Ask {
            limit: SECOND,
            ..ask(APP, "QueueDepth")
        },
        ask(MEMORY, "Verbose"),
    ];
    let (frozen, other) = tokio::join!(read(&jmx, &first, &asks), async {
        let depth = depth(&jmx, &second).await;
        (depth, begun.elapsed())
    });
    assert_eq!(other.0, Ok(Datum::Integer(7)));
    assert!(other.1 < SECOND, "the other JVM waited {:?}", other.1);
    let place = format!("127.0.0.1:{}", jvm.port);
    assert_eq!(
        frozen[0].outcome,
        Err(format!("{place} did not answer within 1 s"))
    );
    assert_eq!(
        frozen[1].outcome,
        Err(format!("{place} did not answer within 2 s")),
        "the next MBean is tried over a new connection, which comes to nothing"
    );
    assert!(begun.elapsed() < 6 * SECOND, "{:?}", begun.elapsed());
    jvm.thaw();
    assert_eq!(depth(&jmx, &first).await, Ok(Datum::Integer(7)));

    jvm.kill();
    let why = depth(&jmx, &first).await.unwrap_err();
    assert!(
        why.starts_with(&format!("could not connect to {place}: Connection refused")),
        "{why}"
    );
    assert_eq!(jmx.open_connections(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_never_takes_the_others_along() {
    let jvm = Jvm::start(Mode::Plain);
    let (jmx, way) = (jmx(), reached(jvm.port, None, None));
    let place = format!("127.0.0.1:{}", jvm.port);
    let asks = [
        ask(APP, "QueueDepth"),
        ask(APP, "Missing"),
        ask(APP, "Broken"),
        ask(APP, "Unsendable"),
        ask("lab:type=Nobody", "QueueDepth"),
        ask("lab:type=,", "QueueDepth"),
        Ask {
            limit: SECOND,
            ..ask("lab:type=Slow", "Slow")
        },
        ask(APP, "Load"),
        ask(MEMORY, "Verbose"),
        Ask {
            limit: SECOND,
            ..ask("lab:type=Slow", "QueueDepth")
        },
    ];
    for round in 0..2 {
        let begun = Instant::now();
        let told = read(&jmx, &way, &asks).await;
        let outcomes: Vec<_> = told.into_iter().map(|told| told.outcome).collect();
        assert_eq!(outcomes[0], Ok(Datum::Integer(7)), "round {round}");
        assert_eq!(outcomes[7], Ok(Datum::Float(0.25)));
        assert_eq!(outcomes[8], Ok(Datum::Bool(false)));
        assert_eq!(outcomes[9], Ok(Datum::Integer(7)), "beside a slow one");
        let why = |nth: usize| outcomes[nth].clone().unwrap_err();
        let mbean = APP;
        assert_eq!(
            why(1),
            format!("MBean \"{mbean}\" of the JVM at {place} has no attribute \"Missing\"")
        );
        assert!(
            why(2).starts_with(&format!(
                "\"Broken\" of \"{mbean}\" could not be read by the JVM at {place}: "
            )),
            "{}",
            why(2)
        );
        assert!(
            why(2).ends_with("java.lang.IllegalStateException: the pool is closed"),
            "{}",
            why(2)
        );
        assert!(
            why(3).starts_with(&format!(
                "{place} cannot send \"Unsendable\" of \"{mbean}\": "
            )),
            "{}",
            why(3)
        );
        assert!(
            why(3).contains("java.io.NotSerializableException: java.lang.Thread"),
            "{}",
            why(3)
        );
        assert_eq!(
            why(4),
            format!("the JVM at {place} has no MBean \"lab:type=Nobody\"")
        );
        assert!(
            why(5).starts_with("\"lab:type=,\" is no MBean's name: "),
            "{}",
            why(5)
        );
        assert!(
            why(6).starts_with(&format!("{place} did not answer within 1 s")),
            "{}",
            why(6)
        );
        assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
    }
}

/// At a short tick the time of an attribute is never over before the tick's.
#[tokio::test]
async fn what_never_comes_within_a_tick_is_asked_more_rarely_too() {
    let jvm = Jvm::with_jolokia();
    let agent = super::jolokia::behind(jvm.http_port, LOGIN.1);
    for way in [reached(jvm.port, None, None), agent.0] {
        let jmx = Jmx::new(Options {
            backoff_first: 60 * SECOND,
            ..Options::default()
        })
        .unwrap();
        let slow = vec![ask("lab:type=Slow", "Slow")];
        assert!(slow[0].limit > 2 * SECOND);
        let mut why = Vec::new();
        for _ in 0..2 {
            let told = jmx.read(&way, slow.clone(), Instant::now() + 2 * SECOND);
            why.push(told.await.unwrap().remove(0).outcome.unwrap_err());
        }
        assert!(!why[0].contains("tried again"), "{why:?}");
        assert!(
            why[1].starts_with(&format!("{}; tried again in ", why[0])),
            "{why:?}"
        );
    }
}

/// Each time it is asked, a thread of the JVM may wait in it for ever.
#[tokio::test]
async fn what_never_comes_is_asked_ever_more_rarely() {
    let jvm = Jvm::with_jolokia();
    let options = Options {
        backoff_first: 60 * SECOND,
        ..Options::default()
    };
    let agent = super::jolokia::behind(jvm.http_port, LOGIN.1);
    for way in [reached(jvm.port, None, None), agent.0] {
        let jmx = Jmx::new(options.clone()).unwrap();
        // Two counters of one attribute are one question.
        let asks = ["Slow", "QueueDepth", "Slow"].map(|name| Ask {
            limit: SECOND,
            ..ask("lab:type=Slow", name)
        });
        let told = read(&jmx, &way, &asks).await;
        let why = told[0].outcome.clone().unwrap_err();
        assert!(why.ends_with(" did not answer within 1 s"), "{why}");
        assert_eq!(told[2].outcome, told[0].outcome);
        assert_eq!(told[1].outcome, Ok(Datum::Integer(7)), "{way:?}");

        let told = read(&jmx, &way, &asks).await;
        let paused = told[0].outcome.clone().unwrap_err();
        let said = format!("{why}; tried again in ");
        assert!(paused.starts_with(&said), "{paused}");
        assert!(paused.ends_with(" s, after 1 failure"), "{paused}");
        assert!(told[0].took < SECOND / 10, "{:?}", told[0].took);
        assert_eq!(told[1].outcome, Ok(Datum::Integer(7)), "{way:?}");
    }
}

/// Asks for what never comes, and for what does; why there is no number, and the number.
async fn slow_and_depth(jmx: &Jmx, way: &Arc<Reached>) -> (String, Result<Datum, String>) {
    let asks = ["Slow", "QueueDepth"].map(|name| Ask {
        limit: SECOND,
        ..ask("lab:type=Slow", name)
    });
    let [slow, depth]: [Told; 2] = read(jmx, way, &asks).await.try_into().unwrap();
    (slow.outcome.unwrap_err(), depth.outcome)
}

#[tokio::test]
async fn what_still_does_not_come_is_paused_for_again_and_each_time_is_counted() {
    let jvm = Jvm::with_jolokia();
    let options = Options {
        backoff_first: 2 * SECOND,
        ..Options::default()
    };
    let agent = super::jolokia::behind(jvm.http_port, LOGIN.1);
    for way in [reached(jvm.port, None, None), agent.0] {
        let jmx = Jmx::new(options.clone()).unwrap();
        let mut pause = tokio::time::interval(SECOND / 10);
        for times in ["after 1 failure", "after 2 failures in a row"] {
            let (mut why, _) = slow_and_depth(&jmx, &way).await;
            while why.contains("; tried again in ") {
                pause.tick().await;
                (why, _) = slow_and_depth(&jmx, &way).await;
            }
            assert!(why.ends_with(" did not answer within 1 s"), "{why}");
            // The pause that follows is at least a second, however it is shortened at random.
            let (paused, depth) = slow_and_depth(&jmx, &way).await;
            let said = format!("{why}; tried again in ");
            assert!(paused.starts_with(&said), "{paused}");
            assert!(paused.ends_with(&format!(" s, {times}")), "{paused}");
            assert_eq!(depth, Ok(Datum::Integer(7)), "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_jvm_that_was_down_is_asked_at_once_for_what_never_came() {
    let mut jvm = Jvm::start(Mode::Plain);
    let way = reached(jvm.port, None, None);
    // A long pause for what does not come, none for a JVM that is not there.
    let jmx = Jmx::new(Options {
        backoff_first: 600 * SECOND,
        backoff_longest: Duration::from_nanos(1),
        ..Options::default()
    })
    .unwrap();
    let late = format!("127.0.0.1:{} did not answer within 1 s", jvm.port);
    let paused = format!("{late}; tried again in ");
    for round in 0..3 {
        if round > 0 {
            // Another JVM comes back, in which nothing waits: the failures of the one before are none of its own.
            jvm.kill();
            if round == 1 {
                let (_, depth) = slow_and_depth(&jmx, &way).await;
                let why = depth.unwrap_err();
                assert!(why.contains("Connection refused"), "{why}");
            }
            jvm.restart();
        }
        if round == 2 {
            // Nobody asked while it was away: who logs in hears that it is another one.
            assert_eq!(depth(&jmx, &way).await, Ok(Datum::Integer(7)));
        }
        let (why, depth) = slow_and_depth(&jmx, &way).await;
        assert_eq!((why, depth), (late.clone(), Ok(Datum::Integer(7))));
        let (why, depth) = slow_and_depth(&jmx, &way).await;
        assert!(why.starts_with(&paused), "{why}");
        assert!(why.ends_with(" s, after 1 failure"), "counted anew: {why}");
        assert_eq!(depth, Ok(Datum::Integer(7)));
    }
}

#[tokio::test]
async fn a_person_who_waits_for_a_slow_attribute_holds_up_no_tick() {
    let jvm = Jvm::start(Mode::Plain);
    let (jmx, way) = (jmx(), reached(jvm.port, None, None));
    let person = jmx.attributes(&way, "lab:type=Slow".into(), Instant::now() + 15 * SECOND);
    let tick = async {
        let mut pause = tokio::time::interval(SECOND / 10);
        for _ in 0..20 {
            pause.tick().await;
            let begun = Instant::now();
            assert_eq!(depth(&jmx, &way).await, Ok(Datum::Integer(7)));
            assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        }
        Instant::now()
    };
    let (shown, read_by) = tokio::join!(async { (person.await.unwrap(), Instant::now()) }, tick);
    let (shown, shown_at) = shown;
    assert!(read_by < shown_at, "all was read while the person waited");
    let value = |name: &str| {
        let found = shown.iter().find(|it| it.about.name == name);
        found.unwrap().value.clone()
    };
    assert_eq!(value("QueueDepth"), Ok(Datum::Integer(7)));
    assert!(
        value("Slow")
            .unwrap_err()
            .contains("did not answer within 5 s")
    );
}
