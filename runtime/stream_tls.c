/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

struct stream_tls {
	gnutls_certificate_credentials_t credentials;
	gnutls_session_t session;
	char *name; /* what the certificate is to be of: GnuTLS does not copy it */
	bool begun;
};

static gnutls_datum_t text(const char *pem)
{
	return (gnutls_datum_t){.data = (unsigned char *)pem, .size = (unsigned int)strlen(pem)};
}

static int wrong(struct error *error, int code, const char *what, int err)
{
	return error__set(error, code, "%s: %s", what, gnutls_strerror(err));
}

static int trust(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	int count;

	if (spec->authorities) {
		gnutls_datum_t pem = text(spec->authorities);

		count = gnutls_certificate_set_x509_trust_mem(tls->credentials, &pem,
							      GNUTLS_X509_FMT_PEM);
	} else {
		count = gnutls_certificate_set_x509_system_trust(tls->credentials);
	}
	if (count < 0)
		return wrong(error, -EINVAL, "the authorities cannot be read", count);
	return count ? 0
		     : error__set(error, -EINVAL, "there is no authority's certificate to trust");
}

static int show(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	gnutls_datum_t certificate, key;
	int err;

	if (!spec->certificate || !spec->key)
		return 0;
	certificate = text(spec->certificate);
	key = text(spec->key);
	err = gnutls_certificate_set_x509_key_mem(tls->credentials, &certificate, &key,
						  GNUTLS_X509_FMT_PEM);
	return err < 0 ? wrong(error, -EINVAL, "the certificate and its key cannot be used", err)
		       : 0;
}

/* An address is not told to the server as a name; it is looked for in the certificate either way. */
static int begin(struct stream_tls *tls, const struct stream_tls_spec *spec, struct error *error)
{
	unsigned char address[16];
	int err = gnutls_init(&tls->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (!err)
		err = gnutls_priority_set_direct(tls->session,
						 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
						 NULL);
	if (!err)
		err = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE,
					     tls->credentials);
	if (!err && inet_pton(AF_INET, spec->name, address) != 1 &&
	    inet_pton(AF_INET6, spec->name, address) != 1)
		err = gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, spec->name,
					     strlen(spec->name));
	if (err)
		return wrong(error, -EINVAL, "TLS cannot begin", err);
	tls->name = strdup(spec->name);
	if (!tls->name)
		return error__set(error, -ENOMEM, "out of memory");
	gnutls_session_set_verify_cert(tls->session, tls->name, 0);
	return 0;
}

int stream_tls__new(const struct stream_tls_spec *spec, struct stream_tls **out,
		    struct error *error)
{
	struct stream_tls *tls = calloc(1, sizeof(*tls));
	int err;

	if (!tls)
		return error__set(error, -ENOMEM, "out of memory");
	if (gnutls_certificate_allocate_credentials(&tls->credentials)) {
		free(tls);
		return error__set(error, -ENOMEM, "out of memory");
	}
	err = trust(tls, spec, error);
	if (!err)
		err = show(tls, spec, error);
	if (!err)
		err = begin(tls, spec, error);
	if (err)
		stream_tls__free(tls);
	else
		*out = tls;
	return err;
}

static int not_trusted(struct stream_tls *tls, struct error *error)
{
	gnutls_datum_t words = {0};
	unsigned int status = gnutls_session_get_verify_cert_status(tls->session);

	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &words, 0);
	error__set(error, -EKEYREJECTED, "its certificate is not trusted: %s",
		   words.data ? (const char *)words.data : "it is not said why");
	gnutls_free(words.data);
	return -EKEYREJECTED;
}

int stream_tls__handshake(struct stream_tls *tls, int fd, bool *writing, struct error *error)
{
	int err;

	if (!tls->begun)
		gnutls_transport_set_int(tls->session, fd);
	tls->begun = true;
	do {
		err = gnutls_handshake(tls->session);
	} while (err == GNUTLS_E_INTERRUPTED);
	*writing = gnutls_record_get_direction(tls->session);
	if (!err)
		return 0;
	if (!gnutls_error_is_fatal(err))
		return -EAGAIN;
	if (err == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		return not_trusted(tls, error);
	if (err == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return error__set(error, -ECONNABORTED, "it refuses TLS with us: %s",
				  gnutls_alert_get_name(gnutls_alert_get(tls->session)));
	return wrong(error, -EPROTO, "TLS with it fails", err);
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED || !gnutls_error_is_fatal((int)n))
		return -EAGAIN;
	/* A server that ends without saying so in TLS: what it said is complete or not by HTTP's own measure. */
	return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : -EPROTO;
}

ssize_t stream_tls__send(struct stream_tls *tls, const void *bytes, size_t len)
{
	return result(gnutls_record_send(tls->session, bytes, len));
}

ssize_t stream_tls__recv(struct stream_tls *tls, void *bytes, size_t len)
{
	return result(gnutls_record_recv(tls->session, bytes, len));
}

void stream_tls__free(struct stream_tls *tls)
{
	if (!tls)
		return;
	if (tls->session)
		gnutls_deinit(tls->session);
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls->name);
	free(tls);
}
