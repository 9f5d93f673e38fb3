/* SPDX-License-Identifier: Apache-2.0 */
#include "http/http_impl.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void credentials(const struct http_request *request, struct http_peer *out)
{
	struct ucred ucred;
	socklen_t len = sizeof(ucred);

	if (getsockopt(request->connection->fd, SOL_SOCKET, SO_PEERCRED, &ucred, &len) ||
	    ucred.pid <= 0)
		return;
	out->local = true;
	out->uid = ucred.uid;
	out->gid = ucred.gid;
	out->pid = ucred.pid;
}

static void address(const struct http_request *request, struct http_peer *out)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *any = info ? info->client_addr : NULL;
	char text[INET6_ADDRSTRLEN];

	if (any && any->sa_family == AF_INET) {
		const struct sockaddr_in *in4 = (const void *)any;

		inet_ntop(AF_INET, &in4->sin_addr, text, sizeof(text));
		snprintf(out->address, sizeof(out->address), "%s:%u", text, ntohs(in4->sin_port));
	} else if (any && any->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)any;

		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		snprintf(out->address, sizeof(out->address), "[%s]:%u", text,
			 ntohs(in6->sin6_port));
	}
}

/* Whether the authorities vouch for the client's certificate, and as one of a client. */
static bool is_vouched_for(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
					 .data = (void *)GNUTLS_KP_TLS_WWW_CLIENT};
	unsigned int status = ~0U;

	return !gnutls_certificate_verify_peers(session, &purpose, 1, &status) && !status;
}

static void subject(const struct http_request *request, struct http_peer *out)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t session = info ? info->tls_session : NULL;
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t certificate;
	unsigned int count = 0;
	size_t size = sizeof(out->subject);

	if (!session || !request->server->clients)
		return;
	chain = gnutls_certificate_get_peers(session, &count);
	if (!chain || !count || !is_vouched_for(session) || gnutls_x509_crt_init(&certificate))
		return;
	if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) ||
	    gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
					  out->subject, &size) ||
	    strlen(out->subject) != size) /* a NUL in it would make it somebody else's */
		out->subject[0] = '\0';
	gnutls_x509_crt_deinit(certificate);
}

void http_request__peer(const struct http_request *request, struct http_peer *out)
{
	memset(out, 0, sizeof(*out));
	if (request->server->path) {
		credentials(request, out);
	} else {
		address(request, out);
		subject(request, out);
	}
}
