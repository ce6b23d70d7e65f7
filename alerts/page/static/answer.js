"use strict";
// The token is in the fragment of the address, which no server and no log sees. Loading the page posts
// it to /answer/look, which changes no incident; it acknowledges or reports only when a person presses a
// button. Every button keeps its place: steps are enabled and disabled, never moved.
document.addEventListener("DOMContentLoaded", () => {
  const element = (id) => document.getElementById(id);
  const button = (id) => element(id).querySelector("button");
  const chips = () => element("found").querySelectorAll("button");
  const token = location.hash.slice(1);
  let feedback = "", state = null, changing = false, wait = 0;

  const post = async (path, fields) => {
    const answer = await fetch(path, {
      method: "POST",
      body: new URLSearchParams(fields),
      credentials: "same-origin",
      signal: AbortSignal.timeout(15000),
    });
    const body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(body.error), { status: answer.status });
    return body;
  };

  const list = (names) => names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];

  const status = (body) => {
    if (body.answered) return body.verdict ? "Done. Your answer is recorded." : "Done. Nothing to do here.";
    if (body.declined) {
      return body.asked.length ? `Done. ${list(body.asked)} ${body.asked.length > 1 ? "are" : "is"} being asked now.`
        : body.taken_by ? `Done. ${body.taken_by} is responding.`
        : body.over ? "Done. The incident is over." : "Nobody else could be asked. If you can, tell the office.";
    }
    const taken = body.mine ? `You're responding, ${body.you}.` : body.taken_by ? `${body.taken_by} is responding.` : "";
    const here = body.here ? "You're on site." : body.first_there ? `${body.first_there} is on site.` : "";
    return [taken, here, body.over ? "The incident is over: you can still say what you found." : ""].filter(Boolean).join(" ");
  };

  const show = (body) => {
    state = body;
    if (body.feedback) feedback = body.feedback;
    const done = (body.answered || body.declined) && !changing;
    const level = body.answered ? "ok" : body.mine ? "responding" : body.over || body.declined ? "done" : "attention";
    element("incident").className = `hero ${level}`;
    element("asks").hidden = done;
    element("settled").hidden = !done;
    element("room").textContent = body.room;
    element("what").textContent = body.answered ? body.what : `${body.what} ${body.over ? "at" : "since"} ${body.since}`;
    element("place").textContent = body.place;
    element("why").textContent = body.answered ? "" : body.why;
    element("said").textContent = status(body);
    element("said").classList.toggle("empty", !status(body));
    element("said").classList.toggle("done", done);
    element("wrong").hidden = true;
    element("more").href = `/incidents/${encodeURIComponent(body.incident)}`;
    element("more").textContent = body.verdict ? "Sign in to record the follow-up" : "Sign in for details";
    element("steps").hidden = done;
    element("close").hidden = !done;
    element("change").hidden = !done || !(body.verdict || body.declined);
    element("change").textContent = body.declined ? "I can go after all" : "Change my answer";
    enable();
  };

  const enable = () => {
    if (!state) return;
    const { mine, here, awaited, verdict, over, declined } = state;
    const on = Boolean(feedback) && !declined;
    button("take").disabled = on;
    button("take").textContent = on ? (mine ? "✓ Responding" : "✓ Recorded") : mine ? "Continue" : "I'm responding";
    button("arrive").disabled = !on || here || !awaited || Boolean(verdict);
    button("arrive").textContent = here ? "✓ On site" : "I'm here";
    button("arrive").classList.toggle("primary", !button("arrive").disabled);
    for (const chip of chips()) {
      chip.disabled = !on;
      chip.setAttribute("aria-pressed", chip.value === verdict || (verdict === "false_alarm" && chip.value === state.cause));
    }
    button("decline").disabled = over || Boolean(verdict) || declined;
  };

  const act = async (path, fields) => {
    for (const each of element("answer").querySelectorAll("button")) each.disabled = true;
    try {
      const body = await post(path, fields);
      changing = false;
      // a second tap that was meant for the button just pressed presses nothing
      await new Promise((resolve) => setTimeout(resolve, path === "/answer/look" ? 0 : 400));
      show(body);
    } catch (error) {
      const refused = path === "/answer/look" && [400, 403, 404].includes(error.status);
      if (refused) element("steps").hidden = true;
      element("wrong").textContent = error.name === "TimeoutError" || error instanceof TypeError
        ? "No connection. Try again, or sign in." : error.message;
      element("wrong").hidden = false;
      if (!state && !refused) { clearTimeout(wait); wait = setTimeout(() => act("/answer/look", { token }), 3000); }
      enable();
    }
    element("change").disabled = false;
  };

  const answers = {
    take: () => act("/answer", { token, via: "link" }),
    arrive: () => act("/answer/arrive", { token: feedback, via: "link" }),
    decline: () => act("/answer/decline", { token, via: "link" }),
    found: (pressed) => act("/answer/feedback", {
      token: feedback, via: "link",
      verdict: pressed.name === "cause" ? "false_alarm" : pressed.value,
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
    else { changing = true; show(state); }
  });

  if (!token) {
    element("steps").hidden = true;
    element("wrong").textContent = "This link is incomplete. Open it from the notice again, or sign in.";
    element("wrong").hidden = false;
  } else {
    act("/answer/look", { token });
  }
});
