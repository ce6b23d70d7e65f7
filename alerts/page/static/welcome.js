"use strict";
// the token of an invite link is in the fragment of the address, which never reaches a server or its log
const token = document.querySelector("#welcome [name=token]");
if (location.hash) {
  token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
