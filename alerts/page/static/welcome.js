"use strict";
// the token of an invite link is in the fragment of the address, which no server and no log sees
const token = document.querySelector("#welcome [name=token]");
if (location.hash) {
  token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
