"use strict";
// The token is in the fragment of the address, which no server and no log sees. Loading the page posts
// it to /answer/look, which changes nothing; it acknowledges or reports only when a person presses a button.
document.addEventListener("DOMContentLoaded", () => {
  const element = (id) => document.getElementById(id);
  const token = location.hash.slice(1);
  let feedback = "";

  const say = (id, text) => {
    element(id).textContent = text;
    element(id).hidden = !text;
  };

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

  const verdicts = { confirmed: "Confirmed", false_alarm: "False alarm", nothing_found: "Nothing found", test: "Test" };

  const show = (body) => {
    element("room").textContent = body.room;
    element("what").textContent = `${body.what} since ${body.since}${body.place ? ` · ${body.place}` : ""}`;
    element("why").textContent = body.why;
    element("more").href = `/incidents/${encodeURIComponent(body.incident)}`;
    element("more").textContent = body.verdict ? "Sign in to record the follow-up" : "Sign in for details";
    const taken = body.mine ? `You're responding, ${body.you}.` : body.taken_by ? `${body.taken_by} is responding.` : "";
    const first = body.first_there && !body.here ? `${body.first_there} is on site.` : "";
    const here = body.here ? "You're on site." : first;
    const over = body.over ? "The incident is resolved." : "";
    const verdict = body.verdict ? `Finding: ${verdicts[body.verdict]}.` : "";
    say("said", [taken, here, over, verdict].filter(Boolean).join(" "));
    if (body.feedback) feedback = body.feedback;
    element("take").hidden = Boolean(feedback);
    element("take").querySelector("button").textContent = body.mine ? "Continue" : "I'm responding";
    element("arrive").hidden = !feedback || body.here || !body.awaited || Boolean(body.verdict);
    element("found").hidden = !feedback;
    element("found").classList.toggle("next", element("arrive").hidden && !body.verdict);
    say("wrong", "");
  };

  const act = async (path, fields) => {
    const buttons = document.querySelectorAll("#answer button");
    for (const button of buttons) button.disabled = true;
    try {
      show(await post(path, fields));
    } catch (error) {
      if (path === "/answer/look" && [400, 403, 404].includes(error.status)) element("take").hidden = true;
      say("wrong", error.name === "TimeoutError" || error instanceof TypeError
        ? "No connection. Try again, or sign in." : error.message);
    }
    for (const button of buttons) button.disabled = false;
  };

  for (const id of ["take", "arrive", "found"]) {
    element(id).addEventListener("submit", (event) => event.preventDefault());
    element(id).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || !event.isTrusted) return;
      event.preventDefault();
      if (id === "take") act("/answer", { token, via: "link" });
      else if (id === "arrive") act("/answer/arrive", { token: feedback, via: "link" });
      else act("/answer/feedback", { token: feedback, via: "link", verdict: button.value, cause: element("found").elements.cause.value });
    });
  }

  if (!token) {
    element("take").hidden = true;
    say("wrong", "This link is incomplete. Open it from the notice again, or sign in.");
  } else {
    act("/answer/look", { token });
  }
});
