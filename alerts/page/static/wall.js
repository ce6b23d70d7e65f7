"use strict";
// The screen's token is in the fragment of the link, which never reaches a server or its log.
document.addEventListener("DOMContentLoaded", async () => {
  const element = (id) => document.getElementById(id), token = location.hash.slice(1);
  if (token) {
    const options = { method: "POST", body: new URLSearchParams({ token }), credentials: "same-origin" };
    const answer = await fetch("/wall/open", options).catch(() => null), wrong = element("wrong");
    if (answer?.ok) return location.replace("/wall");
    if (wrong) wrong.textContent = answer && answer.status < 500 ? wrong.dataset.gone : wrong.dataset.lost;
  }
  const sound = element("sound"), count = () => Number(document.querySelector("#wall h1").dataset.needing);
  if (!sound) return;
  let audio = null, needing = count();
  const beep = () => {
    if (audio?.state !== "running") return;
    for (const [at, pitch] of [[0, 880], [0.25, 660], [0.5, 880]]) {
      const tone = audio.createOscillator(), gain = audio.createGain();
      tone.frequency.value = pitch;
      gain.gain.value = 0.25;
      tone.connect(gain).connect(audio.destination);
      tone.start(audio.currentTime + at);
      tone.stop(audio.currentTime + at + 0.2);
    }
  };
  sound.addEventListener("click", () => {
    audio = audio || new AudioContext(); // browsers allow sound only after a click
    const on = sound.getAttribute("aria-pressed") !== "true";
    if (on) audio.resume().then(beep); else audio.suspend();
    sound.setAttribute("aria-pressed", on);
    [sound.textContent, sound.dataset.other] = [sound.dataset.other, sound.textContent];
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    if (count() > needing) beep();
    needing = count();
  });
  document.body.addEventListener("htmx:responseError", (e) => { if (e.detail.xhr.status === 403) location.reload(); });
});
