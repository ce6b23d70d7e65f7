"use strict";
// The token of a screen is in the fragment of its link, which no server and no log sees.
document.addEventListener("DOMContentLoaded", () => {
  const element = (id) => document.getElementById(id);
  const messages = JSON.parse(document.querySelector('meta[name="messages"]')?.content ?? "{}");
  const _ = (text, values) => (messages[text] ?? text).replace(/%\((\w+)\)s/g, (_all, name) => values[name]);

  // places come as data: the page's policy allows no style in the markup
  const put = (spot) => {
    spot.style.left = `${100 * spot.dataset.x}%`;
    spot.style.top = `${100 * spot.dataset.y}%`;
  };
  const putAll = () => document.querySelectorAll(".spot").forEach(put);

  const open = async () => {
    const token = location.hash.slice(1);
    if (!token) return;
    const answer = await fetch("/wall/open", {
      method: "POST", body: new URLSearchParams({ token }), credentials: "same-origin",
    }).catch(() => null);
    if (answer && answer.ok) location.replace("/wall");
    else if (element("wrong")) {
      const wrong = element("wrong");
      wrong.textContent = answer && answer.status < 500 ? wrong.dataset.gone : wrong.dataset.lost;
    }
  };

  const place = () => {
    const plan = element("plan");
    const keep = (spot, x, y) => {
      const within = (v) => Math.min(Math.max(v, 0), 1).toFixed(4);
      spot.dataset.x = within(x);
      spot.dataset.y = within(y);
      spot.nextElementSibling.value = `${spot.dataset.x} ${spot.dataset.y}`;
      put(spot);
    };
    for (const spot of plan.querySelectorAll(".movable")) {
      spot.addEventListener("pointerdown", (down) => {
        down.preventDefault();
        spot.focus();
        spot.setPointerCapture(down.pointerId);
        spot.onpointermove = (e) => {
          const box = plan.getBoundingClientRect();
          keep(spot, (e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height);
        };
        spot.onpointerup = spot.onpointercancel = () => { spot.onpointermove = null; };
      });
      spot.addEventListener("keydown", (e) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
        if (!step) return;
        e.preventDefault();
        keep(spot, Number(spot.dataset.x) + 0.01 * step[0], Number(spot.dataset.y) + 0.01 * step[1]);
      });
    }
  };

  const show = () => {
    const wall = element("wall"), stale = element("stale"), sound = element("sound"), view = element("view");
    let fresh = Date.now(), audio = null, needing = Number(wall.querySelector("h1").dataset.needing);

    const beep = () => {
      if (!audio || audio.state !== "running") return;
      for (const [at, pitch] of [[0, 880], [0.25, 660], [0.5, 880]]) {
        const tone = audio.createOscillator(), gain = audio.createGain();
        tone.frequency.value = pitch;
        gain.gain.value = 0.25;
        tone.connect(gain).connect(audio.destination);
        tone.start(audio.currentTime + at);
        tone.stop(audio.currentTime + at + 0.2);
      }
    };
    const turn = (button) => {
      [button.textContent, button.dataset.other] = [button.dataset.other, button.textContent];
    };
    const renew = async () => {
      try {
        const answer = await fetch("/wall" + location.search, { credentials: "same-origin", signal: AbortSignal.timeout(8000) });
        if (answer.status === 403) return location.reload();
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        wall.replaceChildren(...page.getElementById("wall").childNodes);
        putAll();
        fresh = Date.now();
        const heading = wall.querySelector("h1"), now = Number(heading.dataset.needing);
        if (now > needing) { beep(); element("announce").textContent = heading.textContent.trim(); }
        needing = now;
      } catch { /* said below */ }
    };
    sound.addEventListener("click", () => {
      audio = audio || new AudioContext();
      const on = sound.getAttribute("aria-pressed") !== "true";
      if (on) audio.resume().then(beep); else audio.suspend();
      sound.setAttribute("aria-pressed", on);
      turn(sound);
    });
    if (view) view.addEventListener("click", () => {
      wall.classList.toggle("with-plan");
      turn(view);
    });
    setInterval(() => {
      element("clock").textContent = new Date().toLocaleTimeString(document.documentElement.lang + "-US", { hour: "numeric", minute: "2-digit" });
      stale.hidden = Date.now() - fresh < 30000;
      const time = new Date(fresh).toLocaleTimeString(document.documentElement.lang + "-US", { hour: "numeric", minute: "2-digit" });
      element("updated").textContent = _("Last update %(time)s.", { time });
      renew();
    }, 5000);
  };

  putAll();
  if (element("closed") || element("wall")) open();
  if (document.querySelector(".movable")) place();
  if (element("wall")) show();
});
