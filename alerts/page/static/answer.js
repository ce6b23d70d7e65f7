"use strict";
// The token is in the fragment of the address, which never reaches a server or its log. Loading the
// page posts the token to /answer/look, which changes no incident. Only pressing a button acknowledges
// or reports something. Buttons are enabled and disabled, but never move.
// translated messages, by their English text
const messages = JSON.parse(document.querySelector('meta[name="messages"]')?.content ?? "{}");
const _ = (text, values = {}) => (messages[text] ?? text).replace(/%\((\w+)\)s|%%/g, (all, name) => name ? values[name] : "%");

// another notice's link, opened in the same tab, differs only in its fragment
addEventListener("hashchange", () => location.reload());

document.addEventListener("DOMContentLoaded", () => {
  const element = (id) => document.getElementById(id);
  const button = (id) => element(id).querySelector("button");
  const chips = () => element("found").querySelectorAll("button");
  const chip = (name) => ([value, words]) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "submit", name, value, textContent: words, disabled: true });
    return made;
  };
  const token = location.hash.slice(1);
  let feedback = "", state = null, changing = false, acting = false, wait = 0;

  const post = async (path, fields) => {
    const answer = await fetch(path + location.search, {
      method: "POST",
      body: new URLSearchParams(fields),
      credentials: "same-origin",
      signal: AbortSignal.timeout(15000),
    });
    const body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(body.error), { status: answer.status, ...body });
    return body;
  };

  const list = (names) => names.length > 1 ? _("%(others)s and %(last)s", { others: names.slice(0, -1).join(", "), last: names.at(-1) }) : names[0];

  const status = (body) => {
    if (body.answered_by) return _("%(name)s answered.", { name: body.answered_by });
    if (body.answered) return body.verdict ? _("Done. Your answer is recorded.") : _("Done. Nothing to do here.");
    if (body.declined) {
      return body.first_there ? _("Done. %(name)s is on site.", { name: body.first_there })
        : body.taken_by ? _("Done. %(name)s is responding.", { name: body.taken_by })
        : body.asked.length > 1 ? _("Done. %(names)s are being asked now.", { names: list(body.asked) })
        : body.asked.length ? _("Done. %(name)s is being asked now.", { name: body.asked[0] })
        : body.over ? _("Done. The incident is over.") : _("Nobody else could be asked. If you can, tell the office.");
    }
    const taken = body.mine ? _("You're responding, %(name)s.", { name: body.you })
      : body.taken_by ? _("%(name)s is responding.", { name: body.taken_by }) : "";
    const here = body.here ? _("You're on site.") : body.first_there ? _("%(name)s is on site.", { name: body.first_there }) : "";
    if (!taken && !here && !body.over) return _("Nobody is responding yet.");
    const nobody = body.state === "nobody_responded" ? _("Nobody responded.") : "";
    return [taken || nobody, here, body.over ? _("The incident is over: you can still say what you found.") : ""].filter(Boolean).join(" ");
  };

  const show = (body) => {
    if (!state) {
      const { verdicts, because, causes } = body.answers, [alone, explained] = document.querySelectorAll(".chips");
      alone.replaceChildren(...verdicts.map(chip("verdict")));
      element("found").querySelector("h3").textContent = because;
      explained.replaceChildren(...causes.map(chip("cause")));
    }
    if (!state) picture().catch(() => {});
    state = body;
    if (body.feedback) feedback = body.feedback;
    const done = (body.answered || body.declined) && !changing;
    const level = body.answered ? "done" : body.mine ? "responding" : body.over || body.declined ? "done" : "alarm";
    element("incident").className = `hero ${level}`;
    element("asks").hidden = done;
    element("settled").hidden = !done;
    element("room").textContent = body.room;
    element("what").textContent = body.what;
    element("place").textContent = body.place;
    element("why").textContent = body.answered ? "" : body.why;
    element("said").textContent = status(body);
    element("said").classList.toggle("empty", !status(body));
    element("said").classList.toggle("done", done);
    element("wrong").hidden = true;
    element("more").href = `/incidents/${encodeURIComponent(body.incident)}`;
    element("more").textContent = body.sign_in_by ? body.sign_in_by : body.verdict ? _("Sign in to record the follow-up") : _("Sign in for details");
    element("steps").hidden = done;
    element("close").hidden = !done;
    element("change").hidden = !done || !(body.verdict || body.declined);
    element("change").textContent = body.declined ? _("I can go after all")
      : body.answered_by ? _("Give another answer") : _("Change my answer");
    enable();
  };

  const enable = () => {
    if (!state) return;
    const { mine, here, awaited, verdict, over, declined } = state;
    const on = Boolean(feedback) && !declined;
    element("ask").hidden = true;
    button("take").disabled = on;
    button("take").textContent = on ? (mine ? _("✓ Responding") : over ? state.answers.respond : _("✓ Recorded")) : mine ? _("Continue") : state.answers.respond;
    button("arrive").disabled = declined || here || !awaited || Boolean(verdict);
    button("arrive").textContent = here ? _("✓ On site") : _("I'm here");
    button("arrive").classList.toggle("primary", on && !button("arrive").disabled);
    element("decline").hidden = here;
    for (const each of chips()) {
      each.disabled = !on;
      each.setAttribute("aria-pressed", each.value === (state.cause || verdict));
    }
    button("decline").disabled = over || Boolean(verdict) || declined || here;
  };

  // the buttons do not wait for the picture; if it can't be drawn or does not arrive, it is left out
  const picture = async () => {
    const answer = await fetch("/answer/evidence" + location.search, { method: "POST", body: new URLSearchParams({ token }) });
    const drawn = answer.ok ? await answer.text() : "";
    if (!drawn) return;
    element("evidence").querySelector("img").src = `data:image/svg+xml,${encodeURIComponent(drawn)}`;
    element("evidence").hidden = false;
  };

  // other people may respond meanwhile
  const renew = async () => {
    const is_reading = () => !document.hidden && !acting && !changing && element("wrong").hidden && element("ask").hidden;
    if (!state || state.answered || !is_reading()) return;
    const body = await post("/answer/look", { token: feedback || token });
    if (is_reading()) show(body);
  };

  const act = async (path, fields) => {
    acting = true;
    for (const each of element("answer").querySelectorAll("button")) each.disabled = true;
    try {
      const body = await post(path, fields);
      changing &&= path === "/answer";
      // ignore a second tap that was meant for the button just pressed
      await new Promise((resolve) => setTimeout(resolve, path === "/answer/look" ? 0 : 400));
      show(body);
    } catch (error) {
      if (error.replace) { acting = false; return ask(error); }
      const refused = path === "/answer/look" && [400, 403, 404].includes(error.status);
      if (refused) element("steps").hidden = true;
      if (refused && !state) element("incident").hidden = true;
      if (error.open) {
        element("more").href = error.open;
        element("more").textContent = _("Open the incident");
      }
      element("wrong").textContent = error.name === "TimeoutError" || error instanceof TypeError
        ? element("answer").dataset.unreachable : error.message;
      element("wrong").hidden = false;
      if (!state && !refused) { clearTimeout(wait); wait = setTimeout(() => act("/answer/look", { token }), 3000); }
      enable();
    }
    element("change").disabled = false;
    acting = false;
  };

  const ask = ({ message, replace, keep, replaces, verdict, cause }) => {
    element("steps").hidden = true;
    element("ask").hidden = false;
    element("ask").querySelector("p").textContent = message;
    const put = (id, words, press) => Object.assign(element(id), { textContent: words, disabled: false, onclick: (event) => event.isTrusted && press() });
    put("replace", replace, () => act("/answer/feedback", { token: feedback, via: "link", verdict, cause, replaces }));
    put("keep", keep, () => act("/answer/look", { token }));
  };

  const answers = {
    take: () => act("/answer", { token, via: "link" }),
    arrive: () => act("/answer/arrive", { token: feedback || token, via: "link" }),
    decline: () => act("/answer/decline", { token, via: "link" }),
    found: (pressed) => act("/answer/feedback", {
      token: feedback, via: "link",
      verdict: pressed.name === "cause" ? state.answers.explained : pressed.value,
      cause: pressed.name === "cause" ? pressed.value : "",
    }),
  };
  for (const [id, answer] of Object.entries(answers)) {
    element(id).addEventListener("submit", (event) => event.preventDefault());
    element(id).addEventListener("click", (event) => {
      const pressed = event.target.closest("button");
      if (!pressed || pressed.disabled || !event.isTrusted) return;
      event.preventDefault();
      answer(pressed);
    });
  }
  element("change").addEventListener("click", (event) => {
    if (!event.isTrusted) return;
    if (state.declined) answers.take();
    else {
      changing = true;
      // people can answer only after they responded, so this also records a response
      if (feedback) show(state); else answers.take();
    }
  });

  if (!token) {
    element("steps").hidden = element("incident").hidden = true;
    element("wrong").textContent = _("This link is incomplete. Open it from the notice again, or sign in.");
    element("wrong").hidden = false;
  } else {
    act("/answer/look", { token });
    setInterval(() => renew().catch(() => {}), 5000);
  }
});
