"use strict";
// Turns on notices in this browser. The page contains the messages in its language.
document.addEventListener("DOMContentLoaded", async () => {
  const box = document.getElementById("push");
  if (!box) return;
  const button = box.querySelector("button"), note = box.querySelector("[role=status]");
  const say = (name) => { note.textContent = box.dataset[name] || name; };
  const isApple = /iPhone|iPad/.test(navigator.userAgent);
  const installed = matchMedia("(display-mode: standalone)").matches || navigator.standalone;

  if (!window.isSecureContext) return say("insecure");
  if (isApple && !installed) return say("install");
  if (!("serviceWorker" in navigator) || !("PushManager" in window)) return say("unable");
  const worker = await navigator.serviceWorker.register("/service-worker.js");
  const key = Uint8Array.from(atob(box.dataset.key.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const known = await worker.pushManager.getSubscription();
  if (known) say("on");
  if (Notification.permission === "denied") return say("denied");
  button.disabled = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      if (await Notification.requestPermission() !== "granted") return say("denied");
      await navigator.serviceWorker.ready;
      const late = new Promise((_resolve, reject) => { setTimeout(reject, 15000); });
      const options = { userVisibleOnly: true, applicationServerKey: key };
      const made = known || await Promise.race([worker.pushManager.subscribe(options), late]);
      const { endpoint, keys } = made.toJSON();
      const system = (navigator.userAgentData && navigator.userAgentData.platform) || navigator.platform || "";
      const fields = { form_token: box.dataset.token, endpoint, p256dh: keys.p256dh, auth: keys.auth, label: `${system}`.trim() };
      const answer = await fetch("/push/subscribe", { method: "POST", body: new URLSearchParams(fields), credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      say("done");
      setTimeout(() => location.reload(), 3000);
    } catch {
      say("failed");
      button.disabled = false;
    }
  });
});
