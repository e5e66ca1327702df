--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: tokenauth_tokens; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tokenauth_tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    live_name text COLLATE pg_catalog."C",
    slot integer,
    scopes text NOT NULL COLLATE pg_catalog."C",
    hint text NOT NULL COLLATE pg_catalog."C",
    generation integer NOT NULL,
    origin text NOT NULL COLLATE pg_catalog."C",
    digest bytea NOT NULL,
    retired_digest bytea,
    retired_until bigint,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint,
    CONSTRAINT tokenauth_tokens_check CHECK (((retired_digest IS NULL) = (retired_until IS NULL))),
    CONSTRAINT tokenauth_tokens_check1 CHECK (((live_name IS NULL) = (revoked_at IS NOT NULL))),
    CONSTRAINT tokenauth_tokens_check2 CHECK (((slot IS NULL) OR (revoked_at IS NULL))),
    CONSTRAINT tokenauth_tokens_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT tokenauth_tokens_retired_digest_check CHECK ((octet_length(retired_digest) = 32))
)
WITH (fillfactor='90');


--
-- Data for Name: tokenauth_tokens; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tokenauth_tokens VALUES
	('PI2J5ZZNCUNFTNFY6XPUIQPTNK', '42', 'plain', 'plain', 86, '', 'Do3z', 1, '', '\x747f0394b95fa3ffe5b5ad89ed6d1c8d442652c7012cdcd939e8b3de62bd8cf7', NULL, NULL, 1793520060123456, NULL, NULL, NULL),
	('7JYTY7BMVXEPG5SPAQWTUTDLZB', '42', 'PLAIN', 'PLAIN', 24, '', 'qcjs', 1, '', '\xc55ceb054a4cf2db7b59aa30ef59e6fe0b428894e236e49adbd5223e002f0c4c', NULL, NULL, 1793520120123456, NULL, NULL, NULL),
	('ZI6HKX3IOYUJSKYAAVXETMFFYT', '42', 'scopes 🧑‍💻 desk', 'scopes 🧑‍💻 desk', 90, 'https://example.com/a:b?c=d&e=''f'' read write', 'VQXb', 1, '', '\x3bbbe77b60ce98c36cba4c755aa283a4bea62906c368e24bc62bd44c6fc5f6c8', NULL, NULL, 1793520180123456, NULL, NULL, NULL),
	('Z7GFUEM42ITHR5WYOZEDUTWCZ4', '42', 'expires late o''brien''s', 'expires late o''brien''s', 8, '', '56ua', 1, '', '\x32774cbc28b8cfa3ecaed761b3bb5556b7fd46c7069d2a2a1544cf8618641b68', NULL, NULL, 1793520240123456, 4947120240123456, NULL, NULL),
	('XC3VRT2DR3EX7M2OLIUWPXHXRH', '42', 'expired "quoted" \ % _', 'expired "quoted" \ % _', 65, '', 'CWVV', 1, '', '\xe8371648fae56261f317c5f75eef3e34e6f6933d035f16aa3d7c19f69f941b38', NULL, NULL, 1793520300123456, 1793523900123456, NULL, NULL),
	('TZ6VTW2O67SBW36DDTLSZLDGLP', '42', 'without slot <b>&amp;</b>', 'without slot <b>&amp;</b>', NULL, '', '6DFh', 1, '', '\x0115788b2b3937e6cf62e5d7a20178a96fdf1a0fc27e3bbd73097ce0f8344c3c', NULL, NULL, 1793520360123456, NULL, NULL, NULL),
	('4B7TOXVFHXHQKCDP5UNHVHX6MH', '42', 'WITHOUT SLOT <B>&AMP;</B>', 'WITHOUT SLOT <B>&AMP;</B>', NULL, '', 'E190', 1, '', '\x989429efb6d4d520dbd1e0d7e302066d81bf7d280f7356a302393c85d42b8235', NULL, NULL, 1793520420123456, NULL, NULL, NULL),
	('66VIAVD3VB55RC577ZS2YHJBKE', '42', 'used  two  spaces', 'used  two  spaces', 67, '', 'uXpS', 1, '', '\xf29d596ef8257c383d389bcaffa6dc050ab7f626350eae51f76a0db87f10b9e0', NULL, NULL, 1793520480123456, NULL, 1793520540123456, NULL),
	('PPDY4JJEM5OKLXR26MWSMDPHTS', '42', 'revoked Ünïcode', NULL, NULL, '', 'MTKx', 1, '', '\x1c46265841e7834761523b0d48bdfbe646ffc7574c3d3057ebd9316fe78b3dc0', NULL, NULL, 1793520600123456, NULL, NULL, 1793520600123456),
	('43MCOCZBMMCAV2QYUT7DRYPZEY', '42', 'revoked Ünïcode', NULL, NULL, '', 'oIxQ', 1, '', '\xc67423a0cde1b1028920a766a7e759606b089ba17173be0b98b28f8420c10473', NULL, NULL, 1793520660123456, NULL, NULL, 1793520660123456),
	('VKH5I6YS2X2XDDKCFCIADOIONM', '42', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'in grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 58, '', 'VD7l', 2, '', '\x32967124091a317fb009e7da27c1b7efe0814b439dc108b98f1f59de58721fd1', '\x4e906a032d7275c0580ec4dc8e55847d7459cb4f2edb47ca9ef5607f695a4802', 4947120720123456, 1793520720123456, NULL, NULL, NULL),
	('YWUPJWCHELFAS7D34EEN4T7R2V', '42', 'in grace, used', 'in grace, used', 46, '', 'C1Vj', 3, '', '\xc870724815f8fdb51407622498c1bf0a17934b6e5bc3fee0976f49a2f89d17d5', '\xf8e117469b22f8ea6d310582404d257b60d34070106241a8d0d7f0d408bab87d', 4947120840123456, 1793520780123456, NULL, 1793520840123456, NULL),
	('PZV3HZFLNMQAMWPDEYQNEP2XGZ', '42', 'IN GRACE, USED', 'IN GRACE, USED', 29, '', 'mu3Y', 3, '', '\x0cff230edce8d9c70e90e0bda7fbcea75df9d933fb59d0ba23ea009c3d7317af', '\xa3de31360252d9094ff414e59d11e030ac45485a38858d53de515ff7bf089dbb', 4947120960123456, 1793520900123456, NULL, 1793520960123456, NULL),
	('54JKWXIBR4KIJUN4XZNYHOOQ7B', '42', 'in grace, revoked 🧑‍💻 desk', NULL, NULL, '', 'IguH', 2, '', '\x7a724f659de7b5440c6e30fe55fc955fb58fef98b830734383d7c36aada4b3ac', '\xf2890e0408ab625a9da5b24daea3ab3db3da4b6077ebf81f3dc9adfae2fe3d3d', 4947121020123456, 1793521020123456, NULL, NULL, 1793521020123456),
	('TEVXJE5JH3MU5DHWQHBUJ2ZBM4', '42', 'past grace o''brien''s', 'past grace o''brien''s', 48, '', 'vuBy', 2, '', '\x1214d2ca68d3b1d4d136fe6e1ef9c8236531f0e8a2d4f3300ded34e83f1de24a', '\x46ba9450c23c29424664aa64ecd75a2308f28830138df878a8c92078854659f2', 1793524680123456, 1793521080123456, 4947121080123456, NULL, NULL),
	('EV2CCNWAXIPXIOJOX5YHFSO5HY', '42', 'imported "quoted" \ % _', 'imported "quoted" \ % _', NULL, 'read', '75a9', 0, 'drf', '\x3e36d02cdd428600eab910f56f44b2fa82ad6ac452b109cabd4415d17b6d211b', NULL, NULL, 1793521140123456, NULL, NULL, NULL),
	('2YPCV4WUBO6EGWA2MI2XWJQUKR', '42', 'imported, expired <b>&amp;</b>', 'imported, expired <b>&amp;</b>', NULL, '', 'a88d', 0, 'drf', '\xbff1844fc564d8a7eccd955da0717bfec58b5e69ec24c6de7bc04eb8e4e7ac75', NULL, NULL, 1793521200123456, 1793524800123456, NULL, NULL),
	('WDPIPOF2PNOSAWL4GYQEGFV7LK', '42', 'IMPORTED, EXPIRED <B>&AMP;</B>', 'IMPORTED, EXPIRED <B>&AMP;</B>', NULL, '', '4809', 0, 'drf', '\xf94ec3a0f3088d3abf12aaef56a8200a305c24dcb3f26a6ec1913655e1c8b9d8', NULL, NULL, 1793521260123456, 1793524860123456, NULL, NULL),
	('N6VAQYN35PFRY6ORE2BVX7BEWD', '42', 'imported, revoked  two  spaces', NULL, NULL, '', '7ad5', 0, 'drf', '\xb11d07a2ec7fd8fb1c18e57ffa7def4f98352aa0e25f9bdaa8646edb8547db1e', NULL, NULL, 1793521320123456, NULL, 1793521380123456, 1793521380123456),
	('KLGUF35Y5XSC45STMNDZ7MQ64U', '42', 'in grace, imported Ünïcode', 'in grace, imported Ünïcode', NULL, '', 'PRBS', 1, 'drf', '\x54b95e2902c22e167148e7ac10d01f3ddde466b5a44a05822d2cced369c425d6', '\x6bc2ff16d2e82265feedf174d9f559b050a944897182477ce41eaf299e520e90', 4947121440123456, 1793521440123456, NULL, NULL, NULL),
	('PGHYQNCAFJFAYLWB2PRDXI52G4', 'org:7', 'plain 🧑‍💻 desk', 'plain 🧑‍💻 desk', 98, '', 'm2Ok', 1, '', '\x6bfc2a3679845c5690c84960c750f129d0996617240f0323d4e585f1cede02ca', NULL, NULL, 1793521500123456, NULL, NULL, NULL),
	('TZCOYE7FFEEECKQLAZW6QRBWVU', 'org:7', 'scopes o''brien''s', 'scopes o''brien''s', 19, 'https://example.com/a:b?c=d&e=''f'' read write', 'OJyo', 1, '', '\x1693040b8b746f3404b4f1c96c88e80dd9060fe69289673543f1b7a31e8094a0', NULL, NULL, 1793521560123456, NULL, NULL, NULL),
	('AF7ALTOOFWI5RFNLH6XHVSFPND', 'org:7', 'expires late "quoted" \ % _', 'expires late "quoted" \ % _', 40, '', 'EHaI', 1, '', '\xbb8aeed57d735f5454e1cfb763993794ecf3569bf3e68699a42b4fc82ba066a4', NULL, NULL, 1793521620123456, 4947121620123456, NULL, NULL),
	('XE22WROFMYGPLEW67XJCIOVNB4', 'org:7', 'expired <b>&amp;</b>', 'expired <b>&amp;</b>', 100, '', 'vyA6', 1, '', '\x72c152f12092ed172d59edecb6f636b3068210ac0576faa73533ea467301a3a6', NULL, NULL, 1793521680123456, 1793525280123456, NULL, NULL),
	('PDKCVOROKP7YZQHC7RYAWKN3S6', 'org:7', 'EXPIRED <B>&AMP;</B>', 'EXPIRED <B>&AMP;</B>', 9, '', 'iyzI', 1, '', '\x62f05cf933ba81834168078e8dd1bf34e81d18842b113f2a203bedbb9a0600e4', NULL, NULL, 1793521740123456, 1793525340123456, NULL, NULL),
	('FLXLJMD35YRFGHUM3HPJFLFCMB', 'org:7', 'without slot  two  spaces', 'without slot  two  spaces', NULL, '', '4bM2', 1, '', '\xf543e898e94be52272ab79a0e80665936f8234b33ea80395ccff5d9f40ebd9ad', NULL, NULL, 1793521800123456, NULL, NULL, NULL),
	('6BMWSGM3KMAFMNFIZUQUN7WQGP', 'org:7', 'used Ünïcode', 'used Ünïcode', 1, '', 'Tucv', 1, '', '\x336428287570ca74cc8b9351faf2a2fca700f1d27f769a88ea8f6eb90bdb89c4', NULL, NULL, 1793521860123456, NULL, 1793521920123456, NULL),
	('V5XFDJXXPDY7CDNUKZ4FVKOZBU', 'org:7', 'revoked 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, NULL, '', 'HVrj', 1, '', '\xd8916a4dfae6e71e1710e882806d963cca186ef49420f8bcb2e6f3f119f223ce', NULL, NULL, 1793521980123456, NULL, NULL, 1793521980123456),
	('6JSU3UCDX5XRL76CWADTLDVWCA', 'org:7', 'revoked 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, NULL, '', 'PlnN', 1, '', '\x088097947d3447a6d5dc6e9d5c2637bb8a90a7cf2cf56b81d3ef74510c772d45', NULL, NULL, 1793522040123456, NULL, NULL, 1793522040123456),
	('63OICIVJRUFQU76GC2UI4RDRJR', 'org:7', 'in grace', 'in grace', 27, '', 'wgyE', 2, '', '\x125042323ec013878bf1e6f2e1ca347c69db3b26f6a7b7bbd1e6214f0990188c', '\xd695ebf7fae1df0371680e0c623cd3908015d17ba521466b82dce1193c63fee0', 4947122100123456, 1793522100123456, NULL, NULL, NULL),
	('VEDJYEWDEH3VVXHRVUULCAMUJG', 'org:7', 'IN GRACE', 'IN GRACE', 28, '', 'JcRl', 2, '', '\x97841fbe4cc9e8b8e9862ebb301e44930e5df714814f5a189e1d820eb84ecfff', '\x1de93b7c996ac7c345a6c38c972d42bcdaccc0b46c2df44dfb3dc19930baedd1', 4947122160123456, 1793522160123456, NULL, NULL, NULL),
	('UUIWGECBMAHL4YJISMGRKAQYWB', 'org:7', 'in grace, used 🧑‍💻 desk', 'in grace, used 🧑‍💻 desk', 4, '', '4Hkt', 3, '', '\x259a9cf5af201fcb05912d4865e9f3768c3ec7ec5262e2a8b92b0849fa8975d3', '\xee31c4466d52e134021b02f5757bf4e7df9e2a4ceebf26895baac617ab7745cc', 4947122280123456, 1793522220123456, NULL, 1793522280123456, NULL),
	('TBVBUJPXE3TRBJMJSJNYXRMYLB', 'org:7', 'in grace, revoked o''brien''s', NULL, NULL, '', 'oRmK', 2, '', '\x56c59fba577e672ff0fc8305a7315386fb1065d44fde909f7f251399cccf4e21', '\x6497d2ccb9d14f3cf8ad9a6cced5e0fa220a0c287ccb23f5d798e76def43e9bb', 4947122340123456, 1793522340123456, NULL, NULL, 1793522340123456),
	('2CC7MQNZQWMORYOJ6J6S6PF4KO', 'org:7', 'past grace "quoted" \ % _', 'past grace "quoted" \ % _', 31, '', 'VnSU', 2, '', '\x190d905b1009effc952e937a37fc7aa0fde34085e51b02a4b845dd7c2ee5e6aa', '\x2ca0ab636a3e23865e68089f43757fae866f92a85395e7b6deb3c2f54281d9e5', 1793526000123456, 1793522400123456, 4947122400123456, NULL, NULL),
	('JSKVOPCABTIV6CH54D2W445ZTQ', 'org:7', 'imported <b>&amp;</b>', 'imported <b>&amp;</b>', NULL, 'read', '7d60', 0, 'drf', '\x7850e797d0334ad4f63a22e59c35bba4dc4684bc293a50a6300195c95ca6be44', NULL, NULL, 1793522460123456, NULL, NULL, NULL),
	('K74WYSMO2DTX63JTE7FCPU5VJM', 'org:7', 'IMPORTED <B>&AMP;</B>', 'IMPORTED <B>&AMP;</B>', NULL, 'read', '428d', 0, 'drf', '\x8fe22a2edd57760b9365826f3af6896221da66f245c8f74acaba8bd7352c5978', NULL, NULL, 1793522520123456, NULL, NULL, NULL),
	('M2BFNNZMVWGDW6YJBUCNAGH2QD', 'org:7', 'imported, expired  two  spaces', 'imported, expired  two  spaces', NULL, '', '3425', 0, 'drf', '\x1f63cfd26926f0f08b22e6bb85361dfb8df007f53c9af1ed693abb1edbb561d6', NULL, NULL, 1793522580123456, 1793526180123456, NULL, NULL),
	('G4JQPRLLLCWF6NUQJO4ZOUPSAS', 'org:7', 'imported, revoked Ünïcode', NULL, NULL, '', 'dd03', 0, 'drf', '\xcc3c729006db5d812dc8ce39c6bbb120061874b9aa6ca2ecac4ae8a9ea0bc981', NULL, NULL, 1793522640123456, NULL, 1793522700123456, 1793522700123456),
	('RWKDXFRMA6AKG447VX7YPFTCXY', 'org:7', 'in grace, imported 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'in grace, imported 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, '', 'NW17', 1, 'drf', '\x738e86112129b10620dba19dcda3a0e22ce5a6b944dfb67f099e4d48fdd28e5c', '\xedd0e2d8c0c3694cf2996cd93db8f419db48adb4683d8977da8aaf987bb2c09d', 4947122760123456, 1793522760123456, NULL, NULL, NULL),
	('TYZOIWUDSCAP73DBVZCJC5BJ5I', 'anna@example.com', 'plain o''brien''s', 'plain o''brien''s', 60, '', '8Xjr', 1, '', '\xaa5a3ae3ab7bdf3bec90f6f75ecc71ff737a1279bc28b4ce402744b57a86671a', NULL, NULL, 1793522820123456, NULL, NULL, NULL),
	('5WFNIDS2LBEOB3OOHHXR3K4AOA', 'anna@example.com', 'scopes "quoted" \ % _', 'scopes "quoted" \ % _', 23, 'https://example.com/a:b?c=d&e=''f'' read write', 'qNkN', 1, '', '\x252a6febdd99c356a02bad77ed0bd7b759215117d36eaeb300c621dfe754cb63', NULL, NULL, 1793522880123456, NULL, NULL, NULL),
	('W6BEWNCTUKZPFJREVY34SRLXY7', 'anna@example.com', 'expires late <b>&amp;</b>', 'expires late <b>&amp;</b>', 1, '', '0DvW', 1, '', '\xb8ea135be85ed17ccbe8c5b958c5eaf1aad1e8a8b2ccd3666d2df8ae082696a4', NULL, NULL, 1793522940123456, 4947122940123456, NULL, NULL),
	('2WYU627CW6UNLLZTFF5K4VKRZG', 'anna@example.com', 'EXPIRES LATE <B>&AMP;</B>', 'EXPIRES LATE <B>&AMP;</B>', 82, '', 'Ec0B', 1, '', '\x9cb54d1043461ad23dbb6c1f395830f1434eaa4777347bf6978550c62e89275d', NULL, NULL, 1793523000123456, 4947123000123456, NULL, NULL),
	('2DJQAB6NP2NXWI4NGFV4XGIX4N', 'anna@example.com', 'expired  two  spaces', 'expired  two  spaces', 78, '', 'nZFw', 1, '', '\x7293b25aed188ed17ea406f16ba860b2c585ac50f30bcde440c87f317bc6b412', NULL, NULL, 1793523060123456, 1793526660123456, NULL, NULL),
	('VL57HTYFCQC3VEMZHTKVP6IVDG', 'anna@example.com', 'without slot Ünïcode', 'without slot Ünïcode', NULL, '', 'L3wO', 1, '', '\xf537af62166db50f1087f0c6b0d55126a2d272e5c5648050e7354c12ee6cbabf', NULL, NULL, 1793523120123456, NULL, NULL, NULL),
	('PTCCPKBTVS7IALKE6F3RJUPUNH', 'anna@example.com', 'used 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'used 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 29, '', 'I1Eq', 1, '', '\xa01b4c8f0c9aaf487e9ff5a39a322d58c0dbe37d68ab9245641bf4fbe8626166', NULL, NULL, 1793523180123456, NULL, 1793523240123456, NULL),
	('2WOJWLV4O3BJFVSLHC67G6IGWM', 'anna@example.com', 'revoked', NULL, NULL, '', 'Udci', 1, '', '\x02a37a8bbd18e99e4dc291564048d5e098d57545601a9f84d2d0e459c121f42a', NULL, NULL, 1793523300123456, NULL, NULL, 1793523300123456),
	('XXGASVBN3Z7K6MJNH4JY55UIL6', 'anna@example.com', 'REVOKED', NULL, NULL, '', 'UAS0', 1, '', '\x125ef2e6d91743fac79f355a9eb802a71de3d5397699e20f7ab017dc6b6ae4f1', NULL, NULL, 1793523360123456, NULL, NULL, 1793523360123456),
	('37TTXLWSZCMAB74NL7XG3MOHM4', 'anna@example.com', 'revoked', NULL, NULL, '', 'bWP7', 1, '', '\x558d12f610f726f83b7f96c055f696c92ff5d14d320fe3c9654b60d56f05a6d7', NULL, NULL, 1793523420123456, NULL, NULL, 1793523420123456),
	('2OXL2GNDEF2DT6ZN25ZFPDUF3G', 'anna@example.com', 'in grace 🧑‍💻 desk', 'in grace 🧑‍💻 desk', 33, '', 'JBf9', 2, '', '\x5147b8fd375fa611444f86801cabff1bd92c149d8b3e9b40fb15d55115e36c35', '\x5aec55bd881064cb1c345e2073f6e088d872847f55c77eb15b88bf60547a8c98', 4947123480123456, 1793523480123456, NULL, NULL, NULL),
	('MOIMVXUROIX6FKKQJCKPVX27WD', 'anna@example.com', 'in grace, used o''brien''s', 'in grace, used o''brien''s', 9, '', 'o3tP', 3, '', '\x01fbd6fb65861298c39c79a5e034a5ff073f6f81b5142f6ade2b140a148f12ad', '\x4786c1fc932453916fe6cdb0002232eba2e70116e9e3dd54f710e52a9ae5661c', 4947123600123456, 1793523540123456, NULL, 1793523600123456, NULL),
	('LKIF23OQD6AR75MR6KQ2V3XWA3', 'anna@example.com', 'in grace, revoked "quoted" \ % _', NULL, NULL, '', 'ybZZ', 2, '', '\x5d1cc3c72b5d4baaa076e0144fbaac57dc95fe33f08c499596f58ed234f1bb64', '\xfbfbb55dbda64449f73a953706077c508e2f2e0b02d7c7f6024dc14be1650957', 4947123660123456, 1793523660123456, NULL, NULL, 1793523660123456),
	('33GZNSTPCU3YYLTD3MENJZO2Z5', 'anna@example.com', 'past grace <b>&amp;</b>', 'past grace <b>&amp;</b>', 24, '', 'Mkb0', 2, '', '\x1eb2e01b5c9b867c0d0ce9058670fe3d4353c07a73c11369cfc1e90bc8393ca5', '\xe2654ac2f2d513858ad953c96dbb93e1a296b1722f19f61fd62bf0488f915e8a', 1793527320123456, 1793523720123456, 4947123720123456, NULL, NULL),
	('SUR7NMOQ7WUQLPQC52E52MSUMU', 'anna@example.com', 'PAST GRACE <B>&AMP;</B>', 'PAST GRACE <B>&AMP;</B>', 71, '', 'wPxd', 2, '', '\x7866e7ae656fdffd7d266f32f0852a791b16d75401f967462b427654c401cca1', '\xe9ee48a703f34a3794b0c6e7eae8bed8922b3db0371fa2c27e65f360798a69a6', 1793527380123456, 1793523780123456, 4947123780123456, NULL, NULL),
	('NKVV5LQDWNFOXJA3KSUO46ZLLO', 'anna@example.com', 'imported  two  spaces', 'imported  two  spaces', NULL, 'read', 'efba', 0, 'drf', '\x606e90514ca58d59111153d5db1853109318215768c4cec74edc47aec4971f85', NULL, NULL, 1793523840123456, NULL, NULL, NULL),
	('C5S3SUBDYDZUW3SEOQ6VEAU3SK', 'anna@example.com', 'imported, expired Ünïcode', 'imported, expired Ünïcode', NULL, '', 'e975', 0, 'drf', '\x930fc4fa123eca11be4a9031ed3ed9d8031b7a37ac7a7624d3dda0b6ed869eb3', NULL, NULL, 1793523900123456, 1793527500123456, NULL, NULL),
	('QT56YCT5MCAU2EL2KD6ZWHWBHV', 'anna@example.com', 'imported, revoked 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, NULL, '', '9a91', 0, 'drf', '\x028803ba36eaad6daee12c92f4af8de162721536727a5c3303f7fb75e33ed058', NULL, NULL, 1793523960123456, NULL, 1793524020123456, 1793524020123456),
	('Q5IOYASEMZAZBNBI6FKND25BJA', 'anna@example.com', 'in grace, imported', 'in grace, imported', NULL, '', '0gPD', 1, 'drf', '\x9806719e7c8f3d7c0363e1fcb73fc1bb752aeb14c807cfdfc594f46dbaf90b6e', '\x92bf1410c3b5286cd8e55fc9f44a1b55ea0e4c111e1b82011a9b4a7445754eb6', 4947124080123456, 1793524080123456, NULL, NULL, NULL),
	('T5VTSXB657BRCB4RRW4ASLPEW6', 'anna@example.com', 'IN GRACE, IMPORTED', 'IN GRACE, IMPORTED', NULL, '', 'KDft', 1, 'drf', '\xae0e9d6b89aeec9a13eda43efc0f627aa8a9aef73de263ec20bfadea9efb1769', '\x98257f26cc2a3a38706680bdb66c530d7b52cada480dec32193a0ea79ca21b07', 4947124140123456, 1793524140123456, NULL, NULL, NULL),
	('5XGXXK6WVYO6BUNGQ2T44SCEZV', 'ANNA@example.com', 'plain "quoted" \ % _', 'plain "quoted" \ % _', 70, '', 'cCoh', 1, '', '\x7d204d8fe9d17623fc1560c435de45a7b4a2af78d7d6a5333a29472b43e8c453', NULL, NULL, 1793524200123456, NULL, NULL, NULL),
	('K7Z57BL4VZTPVM34X3F6B66SCO', 'ANNA@example.com', 'scopes <b>&amp;</b>', 'scopes <b>&amp;</b>', 69, 'https://example.com/a:b?c=d&e=''f'' read write', 'z4yH', 1, '', '\xb8cb74c371aa808bb94f479935917d188a537f28c0bd21ad4b3dcfdf99c6bfdb', NULL, NULL, 1793524260123456, NULL, NULL, NULL),
	('2H6IWAC3MHHTEEZNV7MXWRZCDD', 'ANNA@example.com', 'SCOPES <B>&AMP;</B>', 'SCOPES <B>&AMP;</B>', 76, 'https://example.com/a:b?c=d&e=''f'' read write', 'J67e', 1, '', '\x519d183a68e609d9b5f263d4255391fe7d4ed2ae7cbff0c7bb7e51c43da34de5', NULL, NULL, 1793524320123456, NULL, NULL, NULL),
	('PIHTCXXFMBKM3PUKAL5WWKWH2R', 'ANNA@example.com', 'expires late  two  spaces', 'expires late  two  spaces', 100, '', 'g1T2', 1, '', '\xeba157ebe8e78cef7a2b3e4f2e68a31aaa79dca3fce5266d1072f03bc97b2555', NULL, NULL, 1793524380123456, 4947124380123456, NULL, NULL),
	('BYQBGEORFVYHK4PFJGQ3NLVWNY', 'ANNA@example.com', 'expired Ünïcode', 'expired Ünïcode', 54, '', 'UCNr', 1, '', '\x481145394231fbe6cade62c98a3d35f8900dc760de261f7e0f36e0db7538e518', NULL, NULL, 1793524440123456, 1793528040123456, NULL, NULL),
	('KWWNQF2EO2FLHIQERV5O3DVHHV', 'ANNA@example.com', 'without slot 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'without slot 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, '', 'MkU9', 1, '', '\x4da5206f1d0542f4387a89ac7a90f6a399cf177b4302fbc3e904e75e6ad734ac', NULL, NULL, 1793524500123456, NULL, NULL, NULL),
	('HX5AHS6D7VVBXKMK32IJSXB3TT', 'ANNA@example.com', 'used', 'used', 26, '', 'mOP9', 1, '', '\x058de4944b6ca48cdf055b66402a27a287568e41e21a7c56eeca090e68adc0a1', NULL, NULL, 1793524560123456, NULL, 1793524620123456, NULL),
	('YZZZXCSZP2UAEEKMK3OATZYSE4', 'ANNA@example.com', 'USED', 'USED', 32, '', 'PaZ2', 1, '', '\x5437aa392620b2308b2da4c872cf9c7a8bad03164c1a4bc89f6e379c6d7281b1', NULL, NULL, 1793524680123456, NULL, 1793524740123456, NULL),
	('37UT2JMMJNKAN64GYF6ERW74BD', 'ANNA@example.com', 'revoked 🧑‍💻 desk', NULL, NULL, '', 'JlOG', 1, '', '\x8555ea7307ccb5b33614b4605c2437a5cfd3cdfb5130b67945d8fad2d3f3883f', NULL, NULL, 1793524800123456, NULL, NULL, 1793524800123456),
	('XISCYYBL2KICRRANK2X4EQU2VM', 'ANNA@example.com', 'revoked 🧑‍💻 desk', NULL, NULL, '', 'Pwb1', 1, '', '\xcfc052d9a3c8515813250104a99bef6135a7a076e399a5a98c9e1c894d2e9ea6', NULL, NULL, 1793524860123456, NULL, NULL, 1793524860123456),
	('MNIA2YJMYAMOY5ABIJCO6BO5JY', 'ANNA@example.com', 'in grace o''brien''s', 'in grace o''brien''s', 58, '', 'RyN7', 2, '', '\x49ba0eb57ff0f3d0a268cc958f3fc4515860ae132eeac03fb66a6cce37ec2ab5', '\x763fb9cb63dde1dd34b322645df3c7e4f362c3a9f22f72848434c959f4bc0b89', 4947124920123456, 1793524920123456, NULL, NULL, NULL),
	('5MSHYYUTLHKBSB5DAKRAVOEWUF', 'ANNA@example.com', 'in grace, used "quoted" \ % _', 'in grace, used "quoted" \ % _', 25, '', 'oqsL', 3, '', '\x829f5bc967b4332ee3400b410e2df2d3d3b7d596537e1cb38c5f6b184eafedf8', '\x14666135438c67b5efcec994dbba58cbf201ec402a593f46bda46e8b648d8805', 4947125040123456, 1793524980123456, NULL, 1793525040123456, NULL),
	('73G424OQ34QMUHKSZF3HH7F5TQ', 'ANNA@example.com', 'in grace, revoked <b>&amp;</b>', NULL, NULL, '', 'IguR', 2, '', '\xbcdb06efa3c19394a3fd52bf33a2f5c6b77899954adc0d4ddcc3612ee56edfe1', '\xed4f0579c27cc64649a180cc37b3fbc5efbf5a980b2b9806a05b31c791250401', 4947125100123456, 1793525100123456, NULL, NULL, 1793525100123456),
	('CAROLVKXCZH7YFN7NSC25SETO6', 'ANNA@example.com', 'IN GRACE, REVOKED <B>&AMP;</B>', NULL, NULL, '', 'ehax', 2, '', '\x20bbdec69944b244b6dd3eec1bc406000e911b6bb8c565acc4c6b36df6bd5277', '\x18b157a857dab0223747756b233092048fe58928bb8b6c1f90108e20471d7cdf', 4947125160123456, 1793525160123456, NULL, NULL, 1793525160123456),
	('XQPB6G44L2SVMM7FYOLRRG3IAF', 'ANNA@example.com', 'past grace  two  spaces', 'past grace  two  spaces', 23, '', 'lTgP', 2, '', '\x5b223d1ad6abafa93a8a22da170f574bc95e8cfcdf4256957ea78503338556dd', '\x5a7b0ff85c399e4c6c8133339459e4ce37eec7bbb7c831857d5781165ea39797', 1793528820123456, 1793525220123456, 4947125220123456, NULL, NULL),
	('PM65YCVTA35XPDXS5ABLUQ5AFQ', 'ANNA@example.com', 'imported Ünïcode', 'imported Ünïcode', NULL, 'read', '8781', 0, 'drf', '\x5ce545adeb0f37b5a5f400f66099d782267dad342353677070994d8931d2135e', NULL, NULL, 1793525280123456, NULL, NULL, NULL),
	('BKG3SDVVKEAQKBYCESY6EPBZAY', 'ANNA@example.com', 'imported, expired 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'imported, expired 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, '', 'bac2', 0, 'drf', '\x0deb9a9653f2a1eaf3689f19bbc7eb2be300d01068ef2ff1e04585424c9b569b', NULL, NULL, 1793525340123456, 1793528940123456, NULL, NULL),
	('CB7DS5TLQ3TDR3HBNIEORI2G3R', 'ANNA@example.com', 'imported, revoked', NULL, NULL, '', 'aa21', 0, 'drf', '\xb96a4c5a6efa04a58ab5010fda2957597ed3b974608463e140d7527885f653da', NULL, NULL, 1793525400123456, NULL, 1793525460123456, 1793525460123456),
	('INI6M3LBNYLJ5U2SYR7APAN4TV', 'ANNA@example.com', 'IMPORTED, REVOKED', NULL, NULL, '', '4b8b', 0, 'drf', '\x62822be6b6ca7c84a5b6b425d2934a693a598a7df2518ff7e7494f7a2e1bb53a', NULL, NULL, 1793525520123456, NULL, 1793525580123456, 1793525580123456),
	('2DMRHPVLH6HGZXQTYWTBPLJSKO', 'ANNA@example.com', 'in grace, imported 🧑‍💻 desk', 'in grace, imported 🧑‍💻 desk', NULL, '', '8aJI', 1, 'drf', '\x7184bf00eafb58534b10139e5c25162250af63e9efbbcaccba25d02d37208ee3', '\x9cb42bd863913554e37f05a88b22bd8b1f74f233ee0d01b3a188e7068b1c9091', 4947125640123456, 1793525640123456, NULL, NULL, NULL),
	('6DNSHS5N7T634GEMWNIC5M3LJY', 'Zoë 用户', 'plain <b>&amp;</b>', 'plain <b>&amp;</b>', 86, '', 'qCUX', 1, '', '\x4d1d52a92536f96b98ad511f8092b804479df808babf4d00556984f0d624c146', NULL, NULL, 1793525700123456, NULL, NULL, NULL),
	('G72T2S5HW3AUTGXCNO5DQBRGB6', 'Zoë 用户', 'PLAIN <B>&AMP;</B>', 'PLAIN <B>&AMP;</B>', 73, '', 'Jq1m', 1, '', '\x86abf245e2f2df7c2a2a098ee7a7d23cd8694350cb021f44be631a021fca0f78', NULL, NULL, 1793525760123456, NULL, NULL, NULL),
	('D5PDFRAL5AQAN4ZMWYWM3MD6QM', 'Zoë 用户', 'scopes  two  spaces', 'scopes  two  spaces', 54, 'https://example.com/a:b?c=d&e=''f'' read write', 'QuPo', 1, '', '\x44f8e55d3ab1cbb70e6fe0d38e48dd7cb01c0801e731ff8e1f9915e2f26f668d', NULL, NULL, 1793525820123456, NULL, NULL, NULL),
	('WY2IWJA47JIJJ5X52WQ56Q7AM7', 'Zoë 用户', 'expires late Ünïcode', 'expires late Ünïcode', 49, '', 'lIo4', 1, '', '\x9a1fc7d445a384507acbd85799f4b6e78c24cd0d34dad1ec6ab1ae30a54023d4', NULL, NULL, 1793525880123456, 4947125880123456, NULL, NULL),
	('6GUJZU63KZBYQUGMGTVJYDNIW2', 'Zoë 用户', 'expired 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'expired 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 70, '', 'qOBx', 1, '', '\xb5f1c321cf8c70458e6fd57316d090768a100293e0e92f2dfc05818f3d73e199', NULL, NULL, 1793525940123456, 1793529540123456, NULL, NULL),
	('7FTW477M3EJV74LURK2B3QXO6W', 'Zoë 用户', 'without slot', 'without slot', NULL, '', '1HUs', 1, '', '\xa01e86c1eb1bdac1a5f3e5484e1fa4a79717c7bf5867f023ded4b1d14067f74a', NULL, NULL, 1793526000123456, NULL, NULL, NULL),
	('CNUWEDPU3E4UTXUQ6DJ6532KJN', 'Zoë 用户', 'WITHOUT SLOT', 'WITHOUT SLOT', NULL, '', '9Ar5', 1, '', '\xe9b378ae8d022078ae950007d5ec846cf8dd1ad65d2a88bf40705800f097844c', NULL, NULL, 1793526060123456, NULL, NULL, NULL),
	('BPFB72GS64DDNMKTTPQD3PFX2P', 'Zoë 用户', 'used 🧑‍💻 desk', 'used 🧑‍💻 desk', 1, '', '4Xjb', 1, '', '\xb97eda13ade4817581c0d2bdccc25e1da7b8187878ce3ac01065600361bcd9a2', NULL, NULL, 1793526120123456, NULL, 1793526180123456, NULL),
	('4FGDEWPFYL3ZXGA2VCZGZOAMWV', 'Zoë 用户', 'revoked o''brien''s', NULL, NULL, '', 'Wx5y', 1, '', '\x2ca4496a7a6c4c09413abe7b594f9928ae9ee9efa0c37b338db54d79fcccb789', NULL, NULL, 1793526240123456, NULL, NULL, 1793526240123456),
	('KBWIDLPMEVKQWPW5WT6WX5X5LG', 'Zoë 用户', 'revoked o''brien''s', NULL, NULL, '', 'L0DM', 1, '', '\xcdb27831a4a2db44f25d3aaafc0d956d71ba2d5576fef4d474238877af248b9a', NULL, NULL, 1793526300123456, NULL, NULL, 1793526300123456),
	('LWQFFB4DSC6ZL7J3JJDK66UQLE', 'Zoë 用户', 'in grace "quoted" \ % _', 'in grace "quoted" \ % _', 69, '', 'RNK5', 2, '', '\xcbf3e8c29a2c5d43660e2b4bec861a297b0af3d4975ce32bf83a3818807310d0', '\x0fe1c7d9d1ebd23a33cbc31a6cc5845ecfe3bb6e30f33979e74b9f2093ceea1c', 4947126360123456, 1793526360123456, NULL, NULL, NULL),
	('5IX242U3YYTI6LTY7BS6SBMBIE', 'Zoë 用户', 'in grace, used <b>&amp;</b>', 'in grace, used <b>&amp;</b>', 48, '', 'zdwP', 3, '', '\xbf2ef48b2fa261e1495c90ca1bbccd6fd3bbd48bc1d40d2cff513e7c5bd81a0b', '\x5e3870de5bab52a86eb7d40e01ec6631d1cc86fd27a3fa5d617d32dab9d9f036', 4947126480123456, 1793526420123456, NULL, 1793526480123456, NULL),
	('IZN5XZYQ5EVQEBKGZTZEOARDKG', 'Zoë 用户', 'IN GRACE, USED <B>&AMP;</B>', 'IN GRACE, USED <B>&AMP;</B>', 20, '', '2BMP', 3, '', '\xe847e074ce3067d1be916f7f66e2124ebddd1093d22ec464441e8bdcf4dc54b0', '\x0c45e9b4e9384284d26c71f8012ebc1e9a7cee930b5be653878cfe55e38b0f5e', 4947126600123456, 1793526540123456, NULL, 1793526600123456, NULL),
	('6XRBQ2FVWSLTNYN5OS3GMR2XFB', 'Zoë 用户', 'in grace, revoked  two  spaces', NULL, NULL, '', '8Pe8', 2, '', '\xde6f861b9edb2979d9f82fc04311154a6c3b208250e02136b1ec6ef15e521d5f', '\x99cd68cd2a6a5d758a52f21a9a774b265385e33352d088640b585624150f4816', 4947126660123456, 1793526660123456, NULL, NULL, 1793526660123456),
	('I4MAD6563M2V7WMGBW3VKZASZW', 'Zoë 用户', 'past grace Ünïcode', 'past grace Ünïcode', 44, '', 'S9ti', 2, '', '\x0663fbb208bdcd2309f2d6cd16359cdba6962565f0072821ae3dbeacb8674921', '\x3dd165ffb658be1a81634b837fa5cc514c2948e7036d529c00bfbc0cbfd1dad2', 1793530320123456, 1793526720123456, 4947126720123456, NULL, NULL),
	('TEVWWCNV7PONXBGNEK46XDKQ54', 'Zoë 用户', 'imported 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'imported 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', NULL, 'read', '3448', 0, 'drf', '\xf0c6f3bd1c4a98cfa5393769f068c018786d8f3f89ad12f6d942c73ce5a61d93', NULL, NULL, 1793526780123456, NULL, NULL, NULL),
	('J74AWVISETGVJOLV4MQSTZ5Q6I', 'Zoë 用户', 'imported, expired', 'imported, expired', NULL, '', 'a36e', 0, 'drf', '\xe9e17af7b797911014b7e3f3fd1ff07da7f0c8ac3ca6b8ea92eea142364ea73c', NULL, NULL, 1793526840123456, 1793530440123456, NULL, NULL),
	('LIPJK3AJN2KFHMGRCNQKEGI2JU', 'Zoë 用户', 'IMPORTED, EXPIRED', 'IMPORTED, EXPIRED', NULL, '', '5175', 0, 'drf', '\xbb05018fe80986eaa966f88fe20ab2b960f5e9bcc0a276cc74c6fbe31e99d173', NULL, NULL, 1793526900123456, 1793530500123456, NULL, NULL),
	('X6VYBUFUAXS3O6YHZM7PV6W4YJ', 'Zoë 用户', 'imported, revoked 🧑‍💻 desk', NULL, NULL, '', '3c93', 0, 'drf', '\xd026d4a1dc24d5e40bf8dba419c2ad1d5b4669b546e988a74057b652d99d33da', NULL, NULL, 1793526960123456, NULL, 1793527020123456, 1793527020123456),
	('R3QZ2S62E7JAMT2IIY35CFE6EB', 'Zoë 用户', 'in grace, imported o''brien''s', 'in grace, imported o''brien''s', NULL, '', 't4Hx', 1, 'drf', '\xc06aaf708504c9ff1a71c758b62744aefb637409b3872cd669fd7d3e5c4f903b', '\xdc8af4415116db925f9c4b8eb4e6ce1fcab7e3083054a29a8f28dd43ddcad9b6', 4947127080123456, 1793527080123456, NULL, NULL, NULL),
	('KCOZ44UMGHJZD4I3GI2FFYFZOQ', 'o''brien"; --\', 'plain  two  spaces', 'plain  two  spaces', 21, '', '7wlf', 1, '', '\x3ff6896836864aa22bee61cb60283097748343c39bc751e1a10a92fcfca654c3', NULL, NULL, 1793527140123456, NULL, NULL, NULL);
INSERT INTO public.tokenauth_tokens VALUES
	('ONX7IONUUWSOYYXA3DLLYZOQCC', 'o''brien"; --\', 'scopes Ünïcode', 'scopes Ünïcode', 14, 'https://example.com/a:b?c=d&e=''f'' read write', 'Cm45', 1, '', '\x1673bff5c6f9a6a3edcc1844164728bec02a5a41419da4ff6855ab3f91a6d81c', NULL, NULL, 1793527200123456, NULL, NULL, NULL),
	('WZDLRZQTFV5VA2ACM7XQX6HCLM', 'o''brien"; --\', 'expires late 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'expires late 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 32, '', 'PvSU', 1, '', '\x3c652074a7192fe67592121b3271189239f10963ec18e2aea78a69fd6129d5a8', NULL, NULL, 1793527260123456, 4947127260123456, NULL, NULL),
	('ZSWWBTZAUWAH32S3JRBO6JGERZ', 'o''brien"; --\', 'expired', 'expired', 43, '', '7bkz', 1, '', '\xb7028fc56380660f37309120dc19ef1815dceae25c0273f8dc4d6199c42696aa', NULL, NULL, 1793527320123456, 1793530920123456, NULL, NULL),
	('CBFPG3QVNGX64MYXT5QAQAJE3Q', 'o''brien"; --\', 'EXPIRED', 'EXPIRED', 45, '', 'QPug', 1, '', '\x23026297750f472599fce7071e39f808752b9cdae0d3a12193c80490c4fa6505', NULL, NULL, 1793527380123456, 1793530980123456, NULL, NULL),
	('GR766FEPSCBRIMMPI4TW5VYZVE', 'o''brien"; --\', 'without slot 🧑‍💻 desk', 'without slot 🧑‍💻 desk', NULL, '', '9TZx', 1, '', '\x6cda57cc1553bc399a038dbc6db6a5b89024859560d2539da83abe2dd91693ce', NULL, NULL, 1793527440123456, NULL, NULL, NULL),
	('GV5BET7VVC3A3XNSJI3J6B6KUC', 'o''brien"; --\', 'used o''brien''s', 'used o''brien''s', 52, '', 'ee1H', 1, '', '\x943b4c0299011b57a1c3c5531fdbc49bc1e9a9c7a714676a84523a18b773e356', NULL, NULL, 1793527500123456, NULL, 1793527560123456, NULL),
	('T22MJEF6USSEGEKEMSU3XIRCZP', 'o''brien"; --\', 'revoked "quoted" \ % _', NULL, NULL, '', 'cHnd', 1, '', '\x0e818c47e2aeb43f9063f423eb2645f43066181d4c59691c5fa8642c6931af81', NULL, NULL, 1793527620123456, NULL, NULL, 1793527620123456),
	('HOEMDWE6YRJFMYQ6LS4U47WHX4', 'o''brien"; --\', 'revoked "quoted" \ % _', NULL, NULL, '', 'if3F', 1, '', '\xfe8b2bf5a5037ac17e225b63de3343fa034f4746dc3f99e530d943497cd882fd', NULL, NULL, 1793527680123456, NULL, NULL, 1793527680123456),
	('I3IE65AR5ZG7HI2ZNNMZCHFAEN', 'o''brien"; --\', 'in grace <b>&amp;</b>', 'in grace <b>&amp;</b>', 99, '', 'HmBi', 2, '', '\x47cfce3e72e18d9b7b68ad6930c391e8e4649cedd45b3481657b3591a4c19fd3', '\x81736936322555e6199e98b24e2a21fc5c557d656163fc80fc2a094d3e8b3be0', 4947127740123456, 1793527740123456, NULL, NULL, NULL),
	('LHPD64HDLUIYRISHOCC627EA4Y', 'o''brien"; --\', 'IN GRACE <B>&AMP;</B>', 'IN GRACE <B>&AMP;</B>', 2, '', '73FK', 2, '', '\xf144593db4deed6e57e69df26a996859b4ce88a59e91c680b7afbbe22f513ac4', '\xd3ee5fbb57a0fbadd14421aa45b2b86b019ac3843ef52a82aae16d2f747db855', 4947127800123456, 1793527800123456, NULL, NULL, NULL),
	('PSIN4JA3D76XSM25RPW3JFV2PI', 'o''brien"; --\', 'in grace, used  two  spaces', 'in grace, used  two  spaces', 44, '', 'sPFa', 3, '', '\x4526d87a96f933e524a271e8a22c8035105d0ff12361ee2ef1dbf3a947be0c12', '\xe2759ad22923cc8a6313dd8880056a74d2af2cb5783dc660f690da4f4af9093e', 4947127920123456, 1793527860123456, NULL, 1793527920123456, NULL),
	('4BSFMO3WSZ27EUGBAAQ6SCBK66', 'o''brien"; --\', 'in grace, revoked Ünïcode', NULL, NULL, '', 'dptd', 2, '', '\xb19120c5eb74c062b689acf11da2d21f1532bd618ffe8fc273d52eecd03a225a', '\xc0846c889a350846d06d3e37bcac106995015e9cbe79c4b110b98f3c7956b131', 4947127980123456, 1793527980123456, NULL, NULL, 1793527980123456),
	('RNGKM7RCCCUHSFDPWUJAGL7IIJ', 'o''brien"; --\', 'past grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'past grace 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 1, '', '24Q4', 2, '', '\x24370ecfbd12deba7d5901cd79b233a64afec7b53048910396f99c4269b43e95', '\xd6ee841c32ea010b9a6c89b4e3424a0cd4025105e8af7e4639da0565577ac2a0', 1793531640123456, 1793528040123456, 4947128040123456, NULL, NULL),
	('4T2TZ6JWCJX26KEHRIDUX5AWIA', 'o''brien"; --\', 'imported', 'imported', NULL, 'read', 'a390', 0, 'drf', '\xa5cd9381ebfa292924860b4e2de9f1ef6560e7aab0a3889ee5a0449a55b7f39d', NULL, NULL, 1793528100123456, NULL, NULL, NULL),
	('6XGDR7QMKQZH6Q55JFWJAUHXLO', 'o''brien"; --\', 'IMPORTED', 'IMPORTED', NULL, 'read', '2a24', 0, 'drf', '\x5b753a12240cb94100304cafc3dfd00c271a741f5ad078147f23926bafa7d2f1', NULL, NULL, 1793528160123456, NULL, NULL, NULL),
	('PSL5MZBZNP6NXI5DF5KC7KYZJT', 'o''brien"; --\', 'imported, expired 🧑‍💻 desk', 'imported, expired 🧑‍💻 desk', NULL, '', '0a2c', 0, 'drf', '\xd40222bfcc23f891b2498270a6bce1066247aaa37f91137cdb8b787df058b6a8', NULL, NULL, 1793528220123456, 1793531820123456, NULL, NULL),
	('5XQ6XPDPILIL26NCU5FRXUJTTE', 'o''brien"; --\', 'imported, revoked o''brien''s', NULL, NULL, '', '2d4f', 0, 'drf', '\xdaa66f3a180e43f35f401b340217d747246b0af8b065c14164afd5a218ebc7ea', NULL, NULL, 1793528280123456, NULL, 1793528340123456, 1793528340123456),
	('AYXBUX76VCZBQBVFVSKVEPPIU2', 'o''brien"; --\', 'in grace, imported "quoted" \ % _', 'in grace, imported "quoted" \ % _', NULL, '', 'W3Ev', 1, 'drf', '\x4be318559eb46141bf6a8567abc011547cdbcebb84b6a738c69ac79e0822dd2a', '\x1e1563c32e2234bb228e92555bbdb0a4ca1570ab0bce5ec36f0f0dbf5fa5f045', 4947128400123456, 1793528400123456, NULL, NULL, NULL),
	('F3N5XDGNZRSLOUEUK6QIAJPKFS', 'long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-', 'plain Ünïcode', 'plain Ünïcode', 68, '', 'lLUo', 1, '', '\xb6ca2ad9d9ce6c7299579686ee20c144e63df8fdcfb539470839b80e2c61fb93', NULL, NULL, 1793528460123456, NULL, NULL, NULL),
	('BV63KHRPQFNR6A4J7IDO3UUZUD', 'long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-', 'scopes 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 'scopes 界界界界界界界界界界界界界界界界界界界界界界界界界界界界界界', 24, 'https://example.com/a:b?c=d&e=''f'' read write', 'Ql5y', 1, '', '\xefd92b166a922e536e7ea9098b4b418b93918ac658f2401b44e252f86c0a3151', NULL, NULL, 1793528520123456, NULL, NULL, NULL),
	('UQLR5ZOZ7OWAAQ7ZSKTECGUCVU', 'long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-', 'expires late', 'expires late', 88, '', 'vEq7', 1, '', '\x72382c90b993c04dd89b0fa8adefabcf77859a7e9244cc9ef51ffdf419dc3406', NULL, NULL, 1793528580123456, 4947128580123456, NULL, NULL),
	('K5UKCTCES4EYGHUDEWKQBQP4SL', 'long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-', 'EXPIRES LATE', 'EXPIRES LATE', 57, '', 'ljQh', 1, '', '\x57fbfc5f849a2978c6f466531e00f9d73c8603395c169382ffe44f3424a480af', NULL, NULL, 1793528640123456, 4947128640123456, NULL, NULL),
	('2PNO4JLTZHA2U36KMQKABWHY2T', 'long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-', 'expired 🧑‍💻 desk', 'expired 🧑‍💻 desk', 37, '', 'I6NF', 1, '', '\xa6d026d77c819afc47cd37945d570333a3e0b2c0e332fef7e14bc4a78f092bdb', NULL, NULL, 1793528700123456, 1793532300123456, NULL, NULL);


--
-- Name: tokenauth_tokens tokenauth_tokens_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokenauth_tokens
    ADD CONSTRAINT tokenauth_tokens_digest_key UNIQUE (digest);


--
-- Name: tokenauth_tokens tokenauth_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokenauth_tokens
    ADD CONSTRAINT tokenauth_tokens_pkey PRIMARY KEY (id);


--
-- Name: tokenauth_tokens tokenauth_tokens_retired_digest_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokenauth_tokens
    ADD CONSTRAINT tokenauth_tokens_retired_digest_key UNIQUE (retired_digest);


--
-- Name: tokenauth_tokens tokenauth_tokens_user_id_live_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokenauth_tokens
    ADD CONSTRAINT tokenauth_tokens_user_id_live_name_key UNIQUE (user_id, live_name);


--
-- Name: tokenauth_tokens tokenauth_tokens_user_id_slot_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tokenauth_tokens
    ADD CONSTRAINT tokenauth_tokens_user_id_slot_key UNIQUE (user_id, slot);


--
-- Name: tokenauth_tokens_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokenauth_tokens_created ON public.tokenauth_tokens USING btree (created_at, id);


--
-- Name: tokenauth_tokens_expires; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokenauth_tokens_expires ON public.tokenauth_tokens USING btree (expires_at) WHERE (expires_at IS NOT NULL);


--
-- Name: tokenauth_tokens_revoked; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokenauth_tokens_revoked ON public.tokenauth_tokens USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);


--
-- Name: tokenauth_tokens_user_created; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tokenauth_tokens_user_created ON public.tokenauth_tokens USING btree (user_id, created_at, id);


--
-- PostgreSQL database dump complete
--


