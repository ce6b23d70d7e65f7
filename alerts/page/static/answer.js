"use strict";
// The token is in the fragment of the address, which never reaches a server or its log. Loading the
// page posts the token to /answer/look, which changes no incident. Only pressing a button acknowledges
// or reports something. The server draws the page after each step; buttons never move.

// another notice's link, opened in the same tab, differs only in its fragment
addEventListener("hashchange", () => location.reload());

document.addEventListener("DOMContentLoaded", () => {
  const element = (id) => document.getElementById(id);
  const page = element("answer"), token = location.hash.slice(1);
  let drawn = page.innerHTML, picture = "", feedback = "", state = null, question = null;
  let changing = false, acting = false, wait = 0, failures = 0;

  const send = (path, fields) => fetch(path + location.search, {
    method: "POST",
    body: new URLSearchParams(fields),
    credentials: "same-origin",
    signal: AbortSignal.timeout(15000),
  });

  const post = async (path, fields) => {
    const answer = await send(path, fields), body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(body.error), { status: answer.status, ...body });
    return body;
  };

  const draw = () => {
    page.innerHTML = drawn;
    const said = element("said").textContent, news = element("announce");
    if (news.textContent !== said) news.textContent = said;
    element("evidence").hidden = !picture;
    if (picture) element("evidence").querySelector("img").src = picture;
    if (!changing) return;
    element("steps").hidden = element("asks").hidden = false;
    for (const step of page.querySelectorAll("form.step")) step.hidden ||= !step.querySelector("button:enabled");
    element("close").hidden = element("change").hidden = element("settled").hidden = true;
    element("said").classList.remove("done");
  };

  const show = (body) => {
    if (!state) draw_picture().catch(() => {});
    const is_new = body.page !== drawn || acting;
    state = body;
    drawn = body.page;
    feedback = body.feedback || feedback;
    if (is_new) draw();
  };

  // the buttons do not wait for the picture, which is left out if it doesn't arrive
  const draw_picture = async () => {
    const answer = await send("/answer/evidence", { token }), svg = answer.ok ? await answer.text() : "";
    if (svg) picture = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    if (svg && !acting && element("wrong").hidden && element("ask").hidden) draw();
  };

  // other people may respond or answer meanwhile; two failures in a row are shown
  const renew = async () => {
    const is_reading = () => !document.hidden && !acting && !changing && (failures || element("wrong").hidden) && element("ask").hidden;
    if (!state || !is_reading()) return;
    try {
      const body = await post("/answer/look", { token: feedback || token });
      if (!is_reading()) return;
      if (failures) draw();
      failures = 0;
      show(body);
    } catch (error) {
      if (is_reading() && !(error.status < 500) && ++failures > 1) fail(error, false);
    }
  };

  const act = async (path, fields) => {
    acting = true;
    for (const each of page.querySelectorAll("button")) each.disabled = true;
    try {
      const body = await post(path, fields);
      changing &&= path === "/answer";
      // ignore a second tap that was meant for the button just pressed
      await new Promise((resolve) => setTimeout(resolve, path === "/answer/look" ? 0 : 400));
      show(body);
    } catch (error) {
      draw();
      if (error.replace) ask(error);
      else fail(error, path === "/answer/look" && [400, 403, 404].includes(error.status));
    }
    acting = false;
  };

  const fail = (error, refused) => {
    if (refused) element("steps").hidden = true;
    if (refused && !state) element("incident").hidden = true;
    if (error.open) Object.assign(element("more"), { href: error.open, textContent: page.dataset.open });
    const is_lost = error.name === "TimeoutError" || error instanceof TypeError || error instanceof SyntaxError;
    if (is_lost) failures++;
    element("wrong").textContent = is_lost ? page.dataset.unreachable : error.message;
    element("wrong").hidden = false;
    if (!state && !refused) { clearTimeout(wait); wait = setTimeout(() => act("/answer/look", { token }), 3000); }
  };

  const ask = (error) => {
    question = error;
    element("steps").hidden = true;
    element("ask").hidden = false;
    element("ask").querySelector("p").textContent = error.message;
    for (const id of ["replace", "keep"]) element(id).textContent = error[id];
  };

  const report = (fields) => act("/answer/feedback", { token: feedback, via: "link", ...fields });
  const presses = {
    take: () => act("/answer", { token, via: "link" }),
    arrive: () => act("/answer/arrive", { token: feedback || token, via: "link" }),
    decline: () => act("/answer/decline", { token, via: "link" }),
    found: ({ name, value }) => report({ [name]: value }),
    replace: () => report({ verdict: question.verdict, cause: question.cause, replaces: question.replaces }),
    keep: () => act("/answer/look", { token }),
    change: () => {
      changing = !state.declined;
      // people can answer only once they have responded, so this also records a response
      if (changing && feedback) draw(); else presses.take();
    },
  };
  page.addEventListener("submit", (event) => event.preventDefault());
  page.addEventListener("click", (event) => {
    const pressed = event.target.closest("button");
    if (!pressed || pressed.disabled || !event.isTrusted) return;
    event.preventDefault();
    presses[pressed.form?.id ?? pressed.id](pressed);
  });

  if (!token) {
    fail({ message: page.dataset.incomplete }, true);
  } else {
    act("/answer/look", { token });
    setInterval(renew, 5000);
  }
});
